//! The instrument: what Banter carries on a given machine, measured from outside.
