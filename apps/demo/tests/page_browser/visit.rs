//! A person submits a job, and sees it arrive.

use serde_json::json;

use crate::demo::Demo;
use crate::driver::{Driver, Window};
use crate::looks::WIDE;

pub(crate) const TAB: &str = "\u{e004}";
pub(crate) const ENTER: &str = "\u{e007}";

/// Opens the page, and waits until it is live.
pub(crate) async fn visit(window: &Window, demo: &Demo) {
    window.go(&format!("http://{}/", demo.address)).await;
    window.find("//*[@id='connection' and .='live']").await;
}

/// Waits until the page says that so many records have met their fate and it adds up.
pub(crate) async fn sees_that_it_adds_up(window: &Window, demo: &Demo, records: u64) {
    demo.balanced(records).await;
    window.find("//*[@id='verdict' and .='Everything adds up']").await;
    let row = "//table[@id='account']//tr[th='Records in']";
    window.find(&format!("{row}/td[.='{records}']")).await;
}

/// Fills a field anew.
pub(crate) async fn fill(window: &Window, name: &str, text: &str) {
    let text = json!(text);
    window.run(&format!("document.forms.submit.elements['{name}'].value = {text}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs chromium"]
async fn a_person_submits_a_job_and_sees_it_arrive_in_the_inbox() {
    let (demo, driver) = (Demo::empty().await, Driver::start().await);
    let window = driver.window(WIDE, true).await;
    visit(&window, &demo).await;
    fill(&window, "to", "ann@example.org").await;
    fill(&window, "subject", "Grüße").await;
    window.click("//form[@id='submit']//button[.='Submit']").await;
    window.find("//*[@id='submitted' and .='1 record submitted']").await;
    window.find("//ol[@id='mails']//button[contains(., 'ann@example.org')]").await;
    window.find("//*[@id='mail']//p[.='Mail 1 to ann@example.org']").await;
    sees_that_it_adds_up(&window, &demo, 1).await;
    window.find("//tbody[@id='fates']//span[.='sent']").await;
    window.click("//*[@id='topics']/button[starts-with(., 'topic-job-run-result')]").await;
    let records = "//*[@id='records' and starts-with(@data-of, 'topic-job-run-result/')]";
    window.click(&format!("{records}//summary")).await;
    window.find(&format!("{records}//dt[.='job-outcome']/following::dd[.='accepted']")).await;
    window.click("//*[@id='mail']//button[.='Headers']").await;
    window.find("//*[@id='mail']//th[.='Message-ID']").await;
    window.click("//*[@id='mail']//button[.='Source']").await;
    window.find("//iframe[@src='/mails/1/source' and @sandbox='']").await;
    window.picture("live-page").await;
    assert_eq!(window.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs chromium"]
async fn what_is_in_a_job_is_never_run() {
    let (demo, driver) = (Demo::empty().await, Driver::start().await);
    let window = driver.window(WIDE, true).await;
    visit(&window, &demo).await;
    let hostile = "</title><script>document.title='taken'</script><img src=x onerror=alert(1)>";
    for field in ["subject", "message"] {
        fill(&window, field, hostile).await;
    }
    window.click("//form[@id='submit']//button[.='Submit']").await;
    window.click("//summary[.='Any record at all']").await;
    fill(&window, "value", &json!({ "Id": hostile, "Status": 4 }).to_string()).await;
    window.click("//button[@id='submit-value']").await;
    sees_that_it_adds_up(&window, &demo, 2).await;
    window.find("//tbody[@id='fates']//td[contains(., '</title>')]").await;
    window.find("//iframe[@src='/mails/1/text' and @sandbox='']").await;
    assert_eq!(window.run("return document.title").await, "mailjob, live");
    assert_eq!(window.run("return document.images.length").await, 1, "the icon");
    assert_eq!(window.complaints().await, Vec::<String>::new());
}
