//! A folder on a local (or mounted) file system.
