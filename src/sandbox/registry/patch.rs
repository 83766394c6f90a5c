//! Patches: from an object and a patch to a new object, pure.
