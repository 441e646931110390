//! The whole shop, used by people with a real browser: Debian's chromium and chromium-driver.
//! `PIZZA_SCREENSHOTS` names a folder for pictures of what they see; without it none is taken.
#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

mod driver;
#[path = "../web/shop.rs"]
#[allow(dead_code, reason = "other tests do more with it")]
mod shop;
mod whole_shop;

use driver::{Driver, Window};
use pizza::status::Status;
use whole_shop::WholeShop;

const DESK: (u32, u32) = (1280, 900);
const PHONE: (u32, u32) = (360, 740);
/// Records every status that the page shows.
const RECORD: &str = "
    const shown = () => document.querySelector('.status').textContent;
    window.seen = [shown()];
    new MutationObserver(() => {
        if (window.seen.at(-1) !== shown()) window.seen.push(shown());
    }).observe(document.querySelector('[data-events]'), {childList: true, subtree: true});";

async fn log_in(window: &Window, shop: &WholeShop, name: &str) {
    window.go(&shop.url("/")).await;
    // By keyboard: the field has the focus, and Enter sends the form.
    window.press(&format!("{name}\u{e007}")).await;
    window.find("//h1[.='Put your pizza together']").await;
}

async fn choose(window: &Window, labels: &[&str]) {
    for label in labels {
        window.click(&format!("//label[normalize-space()='{label}']/input")).await;
    }
}

/// Orders what is chosen, and says where the order is followed.
async fn order(window: &Window) -> String {
    window.click("//button[.='Order this pizza']").await;
    window.find("//h2[.='Your pizza']").await;
    window.path().await
}

async fn sees(window: &Window, status: Status) {
    let label = status.label();
    window.find(&format!("//*[contains(@class, 'status') and .='{label}']")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs chromium"]
async fn a_customer_logs_in_orders_and_watches_the_pizza_arrive() {
    let (mut shop, driver) = (WholeShop::open().await, Driver::start().await);
    let window = driver.window(DESK, true).await;
    log_in(&window, &shop, "Italo").await;
    choose(&window, &["Pesto", "Gruyere", "Chicken", "Mushroom", "Fresh garlic"]).await;
    window.picture("menu").await;
    let path = order(&window).await;
    window.run(RECORD).await;
    window.picture("ordered").await;
    shop.open_kitchen();

    sees(&window, Status::DELIVERED).await;
    window.picture("delivered").await;
    // A page that was loaded again would have lost what it has seen.
    let seen = window.run("return window.seen").await;
    let way = [Status::ORDERED, Status::IN_THE_OVEN, Status::OUT_FOR_DELIVERY, Status::DELIVERED];
    assert_eq!(seen, serde_json::json!(way.map(Status::label)));
    let recipe = window.text("//dl").await;
    for part in ["Pesto", "Gruyere", "Chicken", "Mushroom, Fresh garlic"] {
        assert!(recipe.contains(part), "{part}: {recipe}");
    }
    window.click("//nav/a[.='My orders']").await;
    window.find(&format!("//a[@href='{path}']")).await;
    assert_eq!(window.complaints().await, Vec::<String>::new());
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs chromium"]
async fn two_customers_side_by_side_see_their_own_orders_alone() {
    let (mut shop, driver) = (WholeShop::open().await, Driver::start().await);
    let (ann, bob) = (driver.window(DESK, true).await, driver.window(DESK, true).await);
    log_in(&ann, &shop, "Ann").await;
    log_in(&bob, &shop, "Bob").await;
    choose(&ann, &["Vegan meat"]).await;
    choose(&bob, &["Sausage", "Egg"]).await;
    let (anns, bobs) = tokio::join!(order(&ann), order(&bob));
    shop.open_kitchen();
    assert_ne!(anns, bobs);
    tokio::join!(sees(&ann, Status::DELIVERED), sees(&bob, Status::DELIVERED));

    for (window, own, other) in [(&ann, &anns, &bobs), (&bob, &bobs, &anns)] {
        window.go(&shop.url("/orders")).await;
        window.find(&format!("//a[@href='{own}']")).await;
        assert!(!window.text("//main").await.contains(other.trim_start_matches("/orders/")));
        window.go(&shop.url(other)).await;
        window.find("//h1[.='Nothing on this plate']").await;
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs chromium"]
async fn without_a_script_the_pizza_arrives_too() {
    let (mut shop, driver) = (WholeShop::open().await, Driver::start().await);
    let window = driver.window(PHONE, false).await;
    log_in(&window, &shop, "Italo").await;
    choose(&window, &["Hummus", "Onion"]).await;
    order(&window).await;
    shop.open_kitchen();
    sees(&window, Status::DELIVERED).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs chromium"]
async fn an_order_is_cancelled_and_stays_so() {
    let (mut shop, driver) = (WholeShop::open().await, Driver::start().await);
    let window = driver.window(DESK, true).await;
    log_in(&window, &shop, "Italo").await;
    let path = order(&window).await;
    window.click("//button[.='Cancel this order']").await;
    // Told by the status service, but the kitchen hears nothing of it and bakes the pizza.
    shop.open_kitchen();
    sees(&window, Status::CANCELLED).await;
    window.picture("cancelled").await;

    shop.everything_is_done().await;
    window.go(&shop.url(&path)).await;
    sees(&window, Status::CANCELLED).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs chromium"]
async fn every_page_fits_a_phone_and_the_menu_is_used_by_keyboard() {
    let (shop, driver) = (WholeShop::open().await, Driver::start().await);
    let window = driver.window(PHONE, true).await;
    let fits = async |page: &str| {
        let wide = "return document.documentElement.scrollWidth - window.innerWidth";
        let wide = window.run(wide).await.as_i64().unwrap();
        assert!(wide <= 0, "{page} is {wide} pixels too wide");
        window.picture(&format!("phone-{page}")).await;
    };
    window.go(&shop.url("/login")).await;
    fits("log-in").await;
    log_in(&window, &shop, &"W".repeat(40)).await;
    fits("menu").await;

    window.run("document.getElementById('choice-tomato').focus()").await;
    window.press("\u{e014}\u{e014}").await;
    window.find("//input[@value='Pesto']").await;
    assert_eq!(window.run("return document.activeElement.value").await, "Pesto");
    window.press("\u{e007}").await;
    window.find("//h2[.='Your pizza']").await;
    assert!(window.text("//dl").await.contains("Pesto"));
    fits("order").await;
    window.go(&shop.url("/orders")).await;
    fits("orders").await;
    window.go(&shop.url("/missing")).await;
    fits("missing").await;
    shop.close().await;
}
