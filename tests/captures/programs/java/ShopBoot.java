import org.springframework.boot.SpringApplication;
import org.springframework.boot.SpringBootConfiguration;

/** The same in Spring Boot, after the lines of its start. */
@SpringBootConfiguration
public class ShopBoot {
    public static void main(String[] arguments) {
        SpringApplication.run(ShopBoot.class, arguments);
        Shop.main(arguments);
    }
}
