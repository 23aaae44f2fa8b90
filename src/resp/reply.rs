//! Where a reply ends.
