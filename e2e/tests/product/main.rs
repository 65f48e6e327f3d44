//! The product on real pods, as it stands after `demo --install-only`: `kubectl` and REST at one end, assets at the other.

mod asset;
mod cleanup;
mod disruption;
mod failure;
mod leader;
mod rest;
mod rights;
mod site;
mod text;
mod tool;
mod writes;
