//! Post-processors: what is made of a build's artifact once it is there. Pure so far: [`manifest`] only describes.

pub mod manifest;
