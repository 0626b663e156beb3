//! What a loaded model takes: one test, as the allocator counts for the whole process.

mod common;

use common::Files;
use peak_alloc::PeakAlloc;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const NAME: &str = "model.safetensors";

/// The fixture with experts of another width: any bytes are codes, and the scales are ordinary ones.
fn gpt_oss_of_width(intermediate: usize) -> Files {
    let mut files = Files::fixture("gpt-oss-mxfp4");
    files.edit("config.json", |config| {
        config.insert("intermediate_size".into(), intermediate.into());
    });
    let original = files.0.remove(NAME).expect("the fixture has weights");
    let original = SafeTensors::deserialize(&original).expect("it is well formed");
    let tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = original
        .tensors()
        .into_iter()
        .map(|(name, tensor)| {
            let mut shape = tensor.shape().to_vec();
            match name.rsplit('.').next() {
                Some("gate_up_proj_blocks" | "gate_up_proj_scales" | "gate_up_proj_bias") => {
                    shape[1] = 2 * intermediate;
                }
                Some("down_proj_blocks" | "down_proj_scales") => shape[2] = intermediate / 32,
                _ => return (name, tensor.dtype(), shape, tensor.data().to_vec()),
            }
            let bytes = shape.iter().product::<usize>() * tensor.data().len()
                / tensor.shape().iter().product::<usize>();
            let value = if name.ends_with("bias") { 0 } else { 120 };
            (name, tensor.dtype(), shape, vec![value; bytes])
        })
        .collect();
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        let view = TensorView::new(*dtype, shape.clone(), bytes).expect("the bytes fit the shape");
        (name.as_str(), view)
    });
    let bytes = safetensors::serialize(views, None).expect("it serialises");
    files.0.insert(NAME.to_owned(), bytes);
    files
}

#[test]
fn experts_in_mxfp4_take_the_memory_of_their_file() {
    let mut sizes = Vec::new();
    for intermediate in [32, 4096] {
        let files = gpt_oss_of_width(intermediate);
        let before = ALLOCATOR.current_usage();
        let model = files.load().expect("it loads");
        let taken = ALLOCATOR.current_usage() - before;
        drop(model);
        sizes.push((files.0[NAME].len(), taken));
    }
    // What is not experts is the same in both.
    let (file, memory) = (sizes[1].0 - sizes[0].0, sizes[1].1 - sizes[0].1);
    assert!(file > 1 << 20, "{file}");
    // Biases are f32 in memory and bf16 in the file; here they are much beside few inputs.
    assert!(
        memory >= file && memory * 4 < file * 5,
        "{memory} bytes for {file} of the file"
    );
}
