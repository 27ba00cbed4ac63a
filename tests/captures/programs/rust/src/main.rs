//! Logs three events by one logging set-up, named by the argument: information, a warning, an error.

use anyhow::Context;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn charge() -> anyhow::Result<()> {
    Err(anyhow::anyhow!("card declined"))
}

fn pay() -> anyhow::Result<()> {
    charge().context("payment of 4711 failed")
}

fn tracing_events() {
    tracing::info!(target: "shop::pay", trace_id = TRACE, "order 4711 paid");
    tracing::warn!(target: "shop::pay", trace_id = TRACE, "stock of 4711 is low");
    tracing::error!(target: "shop::pay", trace_id = TRACE, error = "card declined", "payment of 4711 failed");
}

fn log_events() {
    log::info!(target: "shop::pay", "order 4711 paid");
    log::warn!(target: "shop::pay", "stock of 4711 is low");
    log::error!(target: "shop::pay", "payment of 4711 failed: {:?}", pay().unwrap_err());
}

fn main() -> anyhow::Result<()> {
    let setup = std::env::args().nth(1).expect("a set-up");
    match setup.as_str() {
        "tracing" => {
            tracing_subscriber::fmt().with_ansi(false).init();
            tracing_events();
        }
        "tracing_colours" => {
            tracing_subscriber::fmt().with_ansi(true).init();
            tracing_events();
        }
        "tracing_json" => {
            tracing_subscriber::fmt().json().init();
            tracing_events();
        }
        "tracing_span" => {
            tracing_subscriber::fmt().with_ansi(false).init();
            let span = tracing::info_span!("order", id = 4711);
            let _entered = span.enter();
            tracing_events();
        }
        "env_logger" => {
            env_logger::Builder::new().filter_level(log::LevelFilter::Info).init();
            log_events();
        }
        "anyhow" => pay()?,
        "unwrap" => pay().unwrap(),
        "expect" => {
            "x".parse::<u32>().expect("a number of items");
        }
        "index" => {
            let items = [1, 2, 3];
            println!("{}", items[setup.len()]);
        }
        "thread" => {
            std::thread::spawn(|| panic!("card declined")).join().unwrap_err();
        }
        _ => panic!("no set-up {setup}"),
    }
    Ok(())
}
