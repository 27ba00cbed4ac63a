// Logs three events by one logging set-up, named by the argument: information, a warning, an error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/gin-gonic/gin"
	"github.com/go-logr/zapr"
	"github.com/hashicorp/go-hclog"
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	pkgerrors "github.com/pkg/errors"
	"github.com/rs/zerolog"
	"github.com/sirupsen/logrus"
	"go.uber.org/zap"
	"k8s.io/klog/v2"

	charm "github.com/charmbracelet/log"
)

const trace = "4bf92f3577b34da6a3ce929d0e0e4736"

var errDeclined = errors.New("card declined")

func stdlog() {
	log.Print("order 4711 paid")
	log.Print("stock of 4711 is low")
	log.Fatalf("payment of 4711 failed: %v", errDeclined)
}

func slogWith(logger *slog.Logger) {
	logger.Info("order 4711 paid", "trace_id", trace)
	logger.Warn("stock of 4711 is low", "trace_id", trace)
	logger.Error("payment of 4711 failed", "error", errDeclined, "trace_id", trace)
	logger.Log(context.Background(), slog.LevelError+4, "giving up")
}

func zapWith(logger *zap.Logger) {
	logger = logger.Named("shop.pay")
	logger.Info("order 4711 paid", zap.String("trace_id", trace))
	logger.Warn("stock of 4711 is low", zap.String("trace_id", trace))
	logger.Error("payment of 4711 failed", zap.Error(errDeclined), zap.String("trace_id", trace))
}

func zerologWith(out io.Writer) {
	logger := zerolog.New(out).With().Timestamp().Str("trace_id", trace).Logger()
	logger.Info().Msg("order 4711 paid")
	logger.Warn().Msg("stock of 4711 is low")
	logger.Error().Err(errDeclined).Msg("payment of 4711 failed")
}

func logrusWith(formatter logrus.Formatter) {
	logger := logrus.New()
	logger.SetFormatter(formatter)
	entry := logger.WithField("trace_id", trace)
	entry.Info("order 4711 paid")
	entry.Warn("stock of 4711 is low")
	entry.WithError(errDeclined).Error("payment of 4711 failed")
}

func klogText() {
	flags := flag.NewFlagSet("klog", flag.ExitOnError)
	klog.InitFlags(flags)
	klog.InfoS("order paid", "order", 4711)
	klog.Warning("stock of 4711 is low")
	klog.ErrorS(errDeclined, "payment failed", "order", 4711)
	klog.Flush()
}

func hclogWith(json bool) {
	logger := hclog.New(&hclog.LoggerOptions{Name: "shop.pay", JSONFormat: json, Level: hclog.Info})
	logger.Info("order 4711 paid", "trace_id", trace)
	logger.Warn("stock of 4711 is low", "trace_id", trace)
	logger.Error("payment of 4711 failed", "error", errDeclined, "trace_id", trace)
}

func charmText() {
	logger := charm.NewWithOptions(os.Stderr, charm.Options{ReportTimestamp: true, Prefix: "shop.pay"})
	logger.Info("order 4711 paid", "trace_id", trace)
	logger.Warn("stock of 4711 is low", "trace_id", trace)
	logger.Error("payment of 4711 failed", "err", errDeclined, "trace_id", trace)
}

func ginServer() {
	router := gin.Default()
	router.GET("/orders/4711", func(c *gin.Context) { c.String(200, "4711") })
	router.GET("/fail", func(c *gin.Context) { panic(errDeclined) })
	request(router)
}

func echoServer() {
	server := echo.New()
	server.Use(middleware.Logger())
	server.GET("/orders/4711", func(c echo.Context) error { return c.String(200, "4711") })
	server.GET("/fail", func(c echo.Context) error { return errDeclined })
	request(server)
}

func request(handler http.Handler) {
	for _, path := range []string{"/orders/4711", "/fail"} {
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", path, nil))
	}
}

type paymentError struct{ order int }

func (e paymentError) Error() string { return fmt.Sprintf("payment of %d failed", e.order) }

func nilPointer() {
	var order *paymentError
	fmt.Println(order.order)
}

func repanic() {
	defer func() { panic(fmt.Sprintf("again: %v", recover())) }()
	panic(errDeclined)
}

func goroutine() {
	done := make(chan bool)
	go func() { panic(errDeclined) }()
	<-done
}

func production() *zap.Logger { logger, _ := zap.NewProduction(); return logger }

func development() *zap.Logger { logger, _ := zap.NewDevelopment(); return logger }

func console() *zap.Logger {
	config := zap.NewProductionConfig()
	config.Encoding = "console"
	logger, _ := config.Build()
	return logger
}

var setups = map[string]func(){
	"stdlog":          stdlog,
	"slog_default":    func() { slogWith(slog.Default()) },
	"slog_text":       func() { slogWith(slog.New(slog.NewTextHandler(os.Stderr, nil))) },
	"slog_json":       func() { slogWith(slog.New(slog.NewJSONHandler(os.Stdout, nil))) },
	"zap":             func() { zapWith(production()) },
	"zap_development": func() { zapWith(development()) },
	"zap_console":     func() { zapWith(console()) },
	"zapr": func() {
		logger := zapr.NewLogger(production()).WithName("shop")
		logger.Info("order 4711 paid")
		logger.Error(errDeclined, "payment of 4711 failed")
	},
	"zerolog":         func() { zerologWith(os.Stderr) },
	"zerolog_console": func() { zerologWith(zerolog.ConsoleWriter{Out: os.Stderr, NoColor: true, TimeFormat: "2006-01-02T15:04:05Z07:00"}) },
	"logrus":          func() { logrusWith(&logrus.TextFormatter{}) },
	"logrus_json":     func() { logrusWith(&logrus.JSONFormatter{}) },
	"klog":            klogText,
	"hclog":           func() { hclogWith(false) },
	"hclog_json":      func() { hclogWith(true) },
	"charm":           charmText,
	"gin":             ginServer,
	"echo":            echoServer,
	"pkg_errors":      func() { log.Printf("payment of 4711 failed: %+v", pkgerrors.Wrap(pkgerrors.New("card declined"), "charge")) },
	"panic":           func() { panic(errDeclined) },
	"panic_text":      func() { panic("card declined") },
	"panic_value":     func() { panic(paymentError{4711}) },
	"nil_pointer":     nilPointer,
	"repanic":         repanic,
	"goroutine":       goroutine,
}

func main() { setups[os.Args[1]]() }
