//! How it looks: on a phone and on a wide screen nothing is cut off.

use crate::demo::Demo;
use crate::driver::Driver;
use crate::visit::visit;

pub(crate) const WIDE: (u32, u32) = (1440, 900);
const PHONE: (u32, u32) = (390, 844);
const SMALL: (u32, u32) = (320, 640);

/// What reaches beyond the window and can't be scrolled to; texts of the picture beyond it.
const CUT_OFF: &str = "
    const right = document.documentElement.clientWidth + 1;
    const isCut = (it) => { const { left, right: end } = it.getBoundingClientRect(); return left < -1 || end > right; };
    const picture = [...document.querySelectorAll('#picture text')].filter((it) => it.textContent);
    const cards = [...document.querySelectorAll('.card, .bar > *')].filter((it) => !it.hidden);
    return [...picture, ...cards].filter(isCut).map((it) => it.textContent);";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs chromium"]
async fn the_page_fits_a_phone_and_a_wide_screen() {
    let (demo, driver) = (Demo::start(&[]).await, Driver::start().await);
    demo.balanced(21).await;
    for (name, size) in [("wide", WIDE), ("phone", PHONE), ("small", SMALL)] {
        let window = driver.window(size, true).await;
        visit(&window, &demo).await;
        window.find("//*[@id='verdict' and .='Everything adds up']").await;
        let wide = "return document.documentElement.scrollWidth - window.innerWidth";
        assert_eq!(window.run(wide).await, 0, "{name}");
        assert_eq!(window.run(CUT_OFF).await, serde_json::json!([]), "{name}");
        window.picture(&format!("live-page-{name}")).await;
    }
}
