//! Where a request ends.
