import java.util.logging.Level;
import java.util.logging.Logger;

/** The same by java.util.logging; with the argument `crash`, an exception ends the program. */
public class ShopJul {
    static void charge() {
        throw new IllegalStateException("card declined");
    }

    public static void main(String[] arguments) {
        if (arguments.length > 0) {
            charge();
        }
        Logger logger = Logger.getLogger("shop.pay.PayService");
        logger.info("order 4711 paid");
        logger.warning("stock of 4711 is low");
        try {
            charge();
        } catch (IllegalStateException error) {
            logger.log(Level.SEVERE, "payment of 4711 failed", error);
        }
    }
}
