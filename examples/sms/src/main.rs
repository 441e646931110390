//! The command line of the SMS executor.

use std::process::ExitCode;

use jobstream_service::{Service, build_info};
use sms::SmsSettings;

fn main() -> ExitCode {
    Service::new("sms", build_info!())
        .about("Takes SMS jobs from Kafka, gives them to a gateway and reports the results")
        .settings::<SmsSettings>()
        .executor(sms::executor)
        .topology(sms::stages)
        .main()
}
