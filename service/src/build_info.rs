//! Facts of a build.

use std::fmt::Write as _;

/// Facts of a build, for `--version`: enough to find the source and the toolchain of a program. Made
/// by [`build_info!`](crate::build_info).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildInfo {
    /// The version of the package.
    pub version: &'static str,
    /// The commit.
    pub commit: Option<&'static str>,
    /// The compiler, as it calls itself.
    pub rustc: Option<&'static str>,
    /// The machine that it is built for.
    pub target: Option<&'static str>,
    /// The profile.
    pub profile: Option<&'static str>,
}

/// The facts of the build of the package that names it. Beside its version they are what its build
/// script sets as `BUILD_COMMIT`, `BUILD_RUSTC`, `BUILD_TARGET` and `BUILD_PROFILE`
/// (`cargo::rustc-env=BUILD_COMMIT=...`), if it has one.
#[macro_export]
macro_rules! build_info {
    () => {
        $crate::BuildInfo {
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("BUILD_COMMIT"),
            rustc: option_env!("BUILD_RUSTC"),
            target: option_env!("BUILD_TARGET"),
            profile: option_env!("BUILD_PROFILE"),
        }
    };
}

impl BuildInfo {
    /// What `--version` prints after the program's name.
    pub(crate) fn long_version(&self) -> String {
        let mut text = self.version.to_owned();
        // A String takes all that is written to it.
        if let Some(commit) = self.commit {
            _ = write!(text, "\ncommit {commit}");
        }
        if let Some(rustc) = self.rustc {
            let target = self.target.unwrap_or("an unknown target");
            let profile = self.profile.unwrap_or("unknown");
            _ = write!(text, "\n{rustc} for {target}, profile {profile}");
        }
        _ = write!(text, "\nlibrdkafka {}", jobstream::kafka::librdkafka_version());
        text
    }
}
