//! Which traces are exported.

use opentelemetry_sdk::trace::Sampler as SdkSampler;

/// What `OTEL_TRACES_SAMPLER` and its argument say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sampler {
    pub(super) root: Root,
    /// Whether a trace that was begun elsewhere is exported if it is there.
    pub(super) follows_parent: bool,
}

/// Which of the traces that begin here are exported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Root {
    All,
    None,
    /// This part of them, from 0 to 1.
    Ratio(f64),
}

impl Sampler {
    pub(super) fn to_sdk(self) -> SdkSampler {
        let root = match self.root {
            Root::All => SdkSampler::AlwaysOn,
            Root::None => SdkSampler::AlwaysOff,
            Root::Ratio(ratio) => SdkSampler::TraceIdRatioBased(ratio),
        };
        match self.follows_parent {
            true => SdkSampler::ParentBased(Box::new(root)),
            false => root,
        }
    }
}
