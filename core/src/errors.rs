// SPDX-License-Identifier: Apache-2.0
//! Errors with their causes: printed on one line, and shared. [`Chain`] is the one place that prints causes: an error's own
//! `Display` never does.

use std::{error::Error, fmt, sync::Arc};

use crate::ports::Cause;

/// `error: cause: cause of the cause`.
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// A cause of several failures. Reads like the cause itself, and leads to the same sources.
#[derive(Clone, Debug)]
pub struct Shared(Arc<dyn Error + Send + Sync>);

impl From<Cause> for Shared {
    fn from(cause: Cause) -> Self {
        Self(cause.into())
    }
}

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Shared {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
