//! The rules, each of which can be left out.

/// What the log does so that its promises hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A new connection compares the server process with the one that the epoch names.
    RunId,
    /// A worker's transaction begins by checking the epochs.
    Fence,
    /// A channel goes on where the database ends.
    Seeding,
    /// Ids are forgotten only once all of them are stored…
    ForgetStored,
    /// …and the oldest entry that waits is known by its own time.
    OldestRemaining,
    /// Data from before the newest installed epoch are thrown away.
    Wipe,
    /// An epoch is open only when it is noted as installed.
    OpenLast,
    /// While an epoch is young, every id is looked up in the database.
    YoungLookUp,
    /// An id that is not fresh is looked up in the database.
    OldLookUp,
    /// Recent changes of membership count more than the database…
    Overlay,
    /// …save those from before the epoch that were stored when it began.
    Base,
    /// What the database said before an epoch began is asked again.
    AskAgain,
    /// A position is a number and its epoch.
    EpochInPosition,
}

/// All of them.
pub(crate) const RULES: [Rule; 13] = [
    Rule::RunId,
    Rule::Fence,
    Rule::Seeding,
    Rule::ForgetStored,
    Rule::OldestRemaining,
    Rule::Wipe,
    Rule::OpenLast,
    Rule::YoungLookUp,
    Rule::OldLookUp,
    Rule::Overlay,
    Rule::Base,
    Rule::AskAgain,
    Rule::EpochInPosition,
];

/// The rules of one history.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    without: Option<Rule>,
}

impl Rules {
    /// All rules.
    pub(crate) const fn all() -> Self {
        Self { without: None }
    }

    /// All but one.
    pub(crate) const fn without(rule: Rule) -> Self {
        Self {
            without: Some(rule),
        }
    }

    /// Whether a rule is kept.
    pub(crate) fn keep(self, rule: Rule) -> bool {
        self.without != Some(rule)
    }
}
