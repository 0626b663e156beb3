//! Measures opening a sealed model against reading the plain file, both from page cache into fresh memory. The plain file
//! is read into ordinary memory, as `read` gives it, and into huge pages, as opening uses them:
//! `cargo run --release -p adyton-sealed-model --example open_speed -- [MiB] [threads] [rounds] [--json]`

#![allow(clippy::print_stdout)] // a measurement speaks to whoever runs it

use std::error::Error;
use std::fs::File;
use std::io::Write as _;
use std::ops::DerefMut;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use memmap2::{Advice, MmapMut};
use sealed_model::{
    Anchor, AnchoredModel, ModelKey, OpenOptions, OwnerSignatureAlgorithm, OwnerSigningKey, SealRequest,
    SealedModel, seal, silent,
};

const CHUNK: usize = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    let mut numbers = arguments
        .iter()
        .filter_map(|argument| argument.parse::<usize>().ok());
    let megabytes = numbers.next().unwrap_or(2048);
    let threads = numbers.next().unwrap_or_else(|| OpenOptions::default().threads);
    let rounds = numbers.next().unwrap_or(7).max(1);
    let bytes = megabytes * CHUNK;

    let folder = tempfile::tempdir()?;
    let plain = folder.path().join("model/weights.safetensors");
    write_plain(&plain, megabytes)?;
    let begun = Instant::now();
    let (model, key) = seal_it(folder.path(), threads)?;
    let sealing = begun.elapsed();

    let (mut reads, mut huge_reads, mut opens) = (Vec::new(), Vec::new(), Vec::new());
    // In turn, each first, second and third: a virtual machine may give freed memory back to its host, and then whoever
    // comes first pays for getting it again.
    for turn in 0..3 * rounds {
        match turn / 3 % 3 + turn % 3 {
            0 | 3 => reads.push(read_plain(&plain, &mut || Ok(vec![0; bytes]), threads)?),
            1 | 4 => huge_reads.push(read_plain(&plain, &mut || huge_pages(bytes), threads)?),
            _ => opens.push(open(&model, &key, threads)?),
        }
    }
    // The best round: what the machine can do, with the least of what others did to it meanwhile.
    let best = |times: &[Duration]| times.iter().min().copied().unwrap_or_default();
    let rate = |time: Duration| bytes as f64 / time.as_secs_f64() / 1e9;
    let (read, huge_read, opened) = (rate(best(&reads)), rate(best(&huge_reads)), rate(best(&opens)));
    let (ratio, huge_ratio, sealed) = (opened / read, opened / huge_read, rate(sealing));
    if json {
        println!(
            "{{\"mebibytes\":{megabytes},\"threads\":{threads},\"plain_gbps\":{read:.3},\
             \"plain_huge_gbps\":{huge_read:.3},\"sealed_gbps\":{opened:.3},\"ratio\":{ratio:.4},\
             \"ratio_huge\":{huge_ratio:.4},\"seal_gbps\":{sealed:.3}}}"
        );
    } else {
        println!("{megabytes} MiB, {threads} threads, best of {rounds}");
        println!("plain read, ordinary memory  {read:7.2} GB/s");
        println!("plain read, huge pages       {huge_read:7.2} GB/s");
        println!(
            "sealed open                  {opened:7.2} GB/s   {:.1} % of the first",
            100.0 * ratio
        );
        println!(
            "                                            {:.1} % of the second",
            100.0 * huge_ratio
        );
        println!("sealing, synced              {sealed:7.2} GB/s");
    }
    Ok(())
}

fn write_plain(path: &Path, megabytes: usize) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(path.parent().expect("has a folder"))?;
    let mut file = File::create(path)?;
    let mut chunk = vec![0u8; CHUNK];
    aws_lc_rs::rand::fill(&mut chunk).map_err(|_| "random generator")?;
    for number in 0..megabytes {
        chunk[..8].copy_from_slice(&number.to_le_bytes());
        file.write_all(&chunk)?;
    }
    Ok(file.sync_all()?)
}

fn seal_it(folder: &Path, threads: usize) -> Result<(AnchoredModel, ModelKey), Box<dyn Error>> {
    let key = ModelKey::generate()?;
    let owner = OwnerSigningKey::generate(OwnerSignatureAlgorithm::Ed25519)?;
    let stop = AtomicBool::new(false);
    let request = SealRequest {
        model_id: "speed",
        version: 1,
        key: &key,
        owner: &owner,
        threads,
        stop: &stop,
    };
    let out = folder.join("speed.sealed");
    let manifest = seal(&folder.join("model"), &out, &request, &silent)?;
    let model = SealedModel::open_manifest(&out, &owner.public_key())?;
    Ok((
        model.anchored(&Anchor::registered("speed", 1, *manifest.digest()))?,
        key,
    ))
}

fn huge_pages(bytes: usize) -> Result<MmapMut, Box<dyn Error>> {
    let mapping = MmapMut::map_anon(bytes)?;
    mapping.advise(Advice::HugePage)?;
    Ok(mapping)
}

/// The reference: the same bytes, the same threads, the same pieces, into fresh memory.
fn read_plain<M: DerefMut<Target = [u8]>>(
    path: &Path,
    fresh: &mut dyn FnMut() -> Result<M, Box<dyn Error>>,
    threads: usize,
) -> Result<Duration, Box<dyn Error>> {
    let begun = Instant::now();
    let file = File::open(path)?;
    let mut buffer = fresh()?;
    let work = Mutex::new(buffer.chunks_mut(CHUNK).enumerate());
    std::thread::scope(|scope| {
        let reader = || -> std::io::Result<()> {
            loop {
                let next = work.lock().expect("no reader panics").next();
                let Some((number, chunk)) = next else {
                    return Ok(());
                };
                file.read_exact_at(chunk, (number * CHUNK) as u64)?;
            }
        };
        let readers: Vec<_> = (0..threads).map(|_| scope.spawn(reader)).collect();
        readers
            .into_iter()
            .try_for_each(|reader| reader.join().expect("no reader panics"))
    })?;
    let elapsed = begun.elapsed();
    std::hint::black_box(&buffer[..]);
    Ok(elapsed)
}

fn open(model: &AnchoredModel, key: &ModelKey, threads: usize) -> Result<Duration, Box<dyn Error>> {
    let begun = Instant::now();
    let open = model.open(key, &OpenOptions { threads }, &silent)?;
    let elapsed = begun.elapsed();
    std::hint::black_box(&open);
    Ok(elapsed)
}
