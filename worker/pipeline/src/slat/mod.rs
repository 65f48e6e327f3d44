//! Structured latents: the flow that samples them and the decoder that turns them into a mesh.
