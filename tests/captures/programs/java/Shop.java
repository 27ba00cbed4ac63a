import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.slf4j.MDC;

/** Logs three events by the logging set-up of the class path: information, a warning, an error with its exception. */
public class Shop {
    static class PaymentException extends RuntimeException {
        PaymentException(String message, Throwable cause) {
            super(message, cause);
        }
    }

    static void charge() {
        throw new IllegalStateException("card declined");
    }

    static void pay() {
        try {
            charge();
        } catch (IllegalStateException error) {
            throw new PaymentException("order 4711 failed\nDetail: no funds", error);
        }
    }

    public static void main(String[] arguments) {
        Logger logger = LoggerFactory.getLogger("shop.pay.PayService");
        MDC.put("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736");
        MDC.put("span_id", "00f067aa0ba902b7");
        logger.info("order 4711 paid");
        logger.warn("stock of 4711 is low");
        try {
            pay();
        } catch (PaymentException error) {
            logger.error("payment of 4711 failed", error);
        }
    }
}
