//! Files that tests make: an OVMF-shaped firmware and PE images, written from the specifications.

const PAGE: usize = 4096;

fn guid(text: &str) -> Vec<u8> {
    let parts: Vec<Vec<u8>> = text
        .split('-')
        .map(|part| hex::decode(part).expect("hex"))
        .collect();
    let (mixed, rest) = parts.split_at(3);
    let mixed = mixed.iter().flat_map(|part| part.iter().rev());
    mixed.chain(rest.iter().flatten()).copied().collect()
}

fn entry(name: &str, data: &[u8]) -> Vec<u8> {
    let length = (data.len() + 18) as u16;
    [data.to_vec(), length.to_le_bytes().to_vec(), guid(name)].concat()
}

/// An OVMF-shaped image of two pages with both kinds of metadata.
pub(crate) fn firmware() -> Vec<u8> {
    let mut image = vec![0x5a; 2 * PAGE];
    let sev: Vec<u8> = [
        [0x80_0000_u32, 0x9000, 1],
        [0x80_d000, 0x1000, 2],
        [0x80_e000, 0x1000, 3],
        [0x81_0000, 0x1000, 0x10],
    ]
    .concat()
    .into_iter()
    .flat_map(u32::to_le_bytes)
    .collect();
    let header = |magic: &[u8], bytes: usize, count: u32| {
        let length = (16 + bytes) as u32;
        [
            magic,
            &length.to_le_bytes(),
            &1_u32.to_le_bytes(),
            &count.to_le_bytes(),
        ]
        .concat()
    };
    let mut tdx = Vec::new();
    for (data, raw, address, memory, kind, attributes) in [
        (
            PAGE as u32,
            PAGE as u32,
            0xffff_f000_u64,
            PAGE as u64,
            0_u32,
            1_u32,
        ),
        (0, PAGE as u32, 0xffff_e000, PAGE as u64, 1, 0),
        (0, 0, 0x80_9000, 0x2000, 2, 0),
    ] {
        tdx.extend(data.to_le_bytes());
        tdx.extend(raw.to_le_bytes());
        tdx.extend(address.to_le_bytes());
        tdx.extend(memory.to_le_bytes());
        tdx.extend(kind.to_le_bytes());
        tdx.extend(attributes.to_le_bytes());
    }
    let sev = [header(b"ASEV", sev.len(), 4), sev].concat();
    let tdx = [header(b"TDVF", tdx.len(), 3), tdx].concat();
    let mut put = |from_end: usize, bytes: &[u8]| {
        let at = 2 * PAGE - from_end;
        image[at..at + bytes.len()].copy_from_slice(bytes);
    };
    put(0x400, &sev);
    put(0x300, &tdx);
    let entries = [
        entry("dc886566-984a-4798-a75e-5585a7bf67cc", &0x400_u32.to_le_bytes()),
        entry("e47a6535-984a-4798-865e-4685a7bf8ec2", &0x300_u32.to_le_bytes()),
        entry(
            "00f771de-1a7e-4fcb-890e-68c77e2fb44e",
            &0x80_b004_u32.to_le_bytes(),
        ),
        entry(
            "7255371f-3a3b-4b04-927b-1da6efa8d454",
            &[0x81_0c00_u32.to_le_bytes(), 0x400_u32.to_le_bytes()].concat(),
        ),
    ]
    .concat();
    let footer = [
        ((entries.len() + 18) as u16).to_le_bytes().to_vec(),
        guid("96b582de-1fb2-45f7-baea-a366c55a082d"),
    ]
    .concat();
    put(32 + 18 + entries.len(), &[entries, footer].concat());
    image
}

/// A small PE32+ writer: the structure of the specification, nothing of the parser.
pub(crate) fn pe(sections: &[(&str, &[u8])], certificate: &[u8]) -> Vec<u8> {
    let mut headers = vec![0; 0x40];
    headers[..2].copy_from_slice(b"MZ");
    headers[0x3c] = 0x40;
    headers.extend(b"PE\0\0");
    headers.extend(0x8664_u16.to_le_bytes());
    headers.extend((sections.len() as u16).to_le_bytes());
    headers.extend([0; 12]);
    headers.extend(240_u16.to_le_bytes());
    headers.extend(0x22_u16.to_le_bytes());
    let mut optional = vec![0; 240];
    optional[..2].copy_from_slice(&0x20b_u16.to_le_bytes());
    optional[60..64].copy_from_slice(&0x400_u32.to_le_bytes());
    optional[108..112].copy_from_slice(&16_u32.to_le_bytes());
    let mut body = Vec::new();
    let mut table = Vec::new();
    for (name, data) in sections {
        let mut header = [0; 40];
        header[..name.len()].copy_from_slice(name.as_bytes());
        let raw = data.len().next_multiple_of(0x200);
        header[8..12].copy_from_slice(&(data.len() as u32).to_le_bytes());
        header[16..20].copy_from_slice(&(raw as u32).to_le_bytes());
        header[20..24].copy_from_slice(&((0x400 + body.len()) as u32).to_le_bytes());
        table.extend(header);
        body.extend(*data);
        body.resize(body.len().next_multiple_of(0x200), 0);
    }
    if !certificate.is_empty() {
        optional[144..148].copy_from_slice(&((0x400 + body.len()) as u32).to_le_bytes());
        optional[148..152].copy_from_slice(&(certificate.len() as u32).to_le_bytes());
    }
    headers.extend(optional);
    headers.extend(table);
    headers.resize(0x400, 0);
    [headers, body, certificate.to_vec()].concat()
}
