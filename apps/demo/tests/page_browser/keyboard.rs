//! By keyboard alone: everything is reached, and the focus stays where it is.

use crate::demo::Demo;
use crate::driver::{Driver, Window};
use crate::looks::WIDE;
use crate::visit::{ENTER, TAB, sees_that_it_adds_up, visit};

/// More than there is to step over.
const STEPS_MAX: usize = 80;

/// Goes on with Tab until the focus is on what the selector says.
async fn tab_to(window: &Window, selector: &str) {
    for _ in 0..STEPS_MAX {
        window.press(TAB).await;
        let is_there = format!("return document.activeElement.matches(\"{selector}\")");
        if window.run(&is_there).await == true {
            return;
        }
    }
    panic!("{selector} is not reached");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs chromium"]
async fn a_person_without_a_mouse_breaks_it_submits_and_reads_the_mail() {
    let (demo, driver) = (Demo::empty().await, Driver::start().await);
    let window = driver.window(WIDE, true).await;
    visit(&window, &demo).await;
    window.press(TAB).await;
    assert_eq!(window.run("return document.activeElement.className").await, "skip");
    window.press(ENTER).await;

    tab_to(&window, "#switch-server-refuses").await;
    window.press(" ").await;
    window.find("//button[@id='switch-server-refuses' and @aria-checked='true']").await;
    tab_to(&window, "[name=subject]").await;
    window.press(&format!("By keyboard{ENTER}")).await;
    window.find("//*[@data-node='server' and @data-state='away']").await;
    // The page has changed meanwhile, and the focus has not.
    assert_eq!(window.run("return document.activeElement.name").await, "subject");
    window.run("document.getElementById('switch-server-refuses').focus()").await;
    window.press(" ").await;
    sees_that_it_adds_up(&window, &demo, 1).await;

    tab_to(&window, "#records").await;
    tab_to(&window, "#mails button").await;
    window.press(ENTER).await;
    window.find("//*[@id='mail']//p[.='Mail 1 to customer@example.org']").await;
    tab_to(&window, "[data-view=headers]").await;
    window.press(ENTER).await;
    window.find("//*[@id='mail']//td[contains(., 'By keyboard')]").await;
    window.find("//*[@id='mail']//button[@data-view='headers' and @aria-pressed='true']").await;
    assert_eq!(window.run("return document.activeElement.dataset.view").await, "headers");
    assert_eq!(window.complaints().await, Vec::<String>::new());
}
