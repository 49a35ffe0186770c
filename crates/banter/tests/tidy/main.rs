//! What a reviewer would otherwise have to look for: the shape of the sources, the direction of
//! dependencies, and that documents and code say the same.

mod documents;
mod manifests;
mod sources;
mod tree;

/// Fails with everything that was found, so that one run shows all.
#[track_caller]
fn assert_tidy(found: &[String]) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}
