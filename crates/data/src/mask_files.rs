//! Masks in PNG files beside the pictures that they are of.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use png::{BitDepth, ColorType, Decoder, Limits, Transformations};
use rayon::prelude::*;

use crate::annotations::Mask;
use crate::error::DataError;
use crate::folder::Folder;
use crate::geometry::Geometry;
use crate::listing::Pictures;
use crate::names::{Names, below};
use crate::size::MAX_SIDE;

/// Bytes that decoding one file may take.
const MOST_BYTES: usize = 1 << 30;

/// A file for every picture that is selected.
#[derive(Debug)]
pub(crate) struct MaskFiles {
    /// By row of the data set; `None` of those that are not selected.
    files: Vec<Option<(PathBuf, Geometry)>>,
}

impl MaskFiles {
    /// The files below `path` that are named like the pictures `rows` of a folder, endings aside.
    ///
    /// # Errors
    /// [`DataError::Mismatch`] naming a picture without a mask, or a mask of other extents.
    pub fn list(path: &Path, folder: &Folder, rows: &[usize]) -> Result<Self, DataError> {
        let all = Pictures::below(path)?.files;
        let names: Vec<String> = all.iter().map(|file| stem(path, file)).collect();
        let names = Names::of(names.iter().map(String::as_str));
        let found = rows.par_iter().map(|&row| {
            let picture = folder.file(row);
            let mask = names.find(&stem(folder.path(), picture)).ok_or_else(|| {
                let expected = format!("one file named like picture '{}'", folder.relative(row));
                DataError::mismatch(path, "masks", expected, "none, or several")
            })?;
            let (mask, geometry) = (&all[mask], folder.geometry(row)?);
            let [height, width] = extents(mask)?;
            if [height, width] != geometry.from {
                let [rows, columns] = geometry.from;
                return Err(DataError::mismatch(
                    mask,
                    "size (width x height)",
                    format!("{columns}x{rows}, as the picture"),
                    format!("{width}x{height}"),
                ));
            }
            Ok((row, (mask.clone(), geometry)))
        });
        let mut files = vec![None; folder.rows()];
        for found in found.collect::<Vec<Result<_, DataError>>>() {
            let (row, file) = found?;
            files[row] = Some(file);
        }
        Ok(Self { files })
    }

    /// The masks of the given rows.
    pub fn read(&self, rows: &[usize]) -> Result<Vec<Mask>, DataError> {
        let masks = rows.par_iter().filter_map(|row| {
            let (path, geometry) = self.files.get(*row)?.as_ref()?;
            Some(
                read(path).and_then(|(extents, labels)| match extents == geometry.from {
                    true => Ok(Mask::of(&labels, geometry)),
                    false => Err(DataError::malformed(
                        path,
                        "the file that was opened",
                        "another",
                    )),
                }),
            )
        });
        masks.collect::<Vec<_>>().into_iter().collect()
    }
}

/// The path below `folder` without its ending, with `/`.
fn stem(folder: &Path, file: &Path) -> String {
    below(folder, &file.with_extension(""))
}

fn malformed(path: &Path, found: impl std::fmt::Display) -> DataError {
    DataError::malformed(path, "a PNG of grey levels or of a palette", found)
}

fn opened(path: &Path) -> Result<png::Reader<BufReader<File>>, DataError> {
    let file = File::open(path).map_err(DataError::io(path, "open"))?;
    let limits = Limits { bytes: MOST_BYTES };
    let mut decoder = Decoder::new_with_limits(BufReader::new(file), limits);
    // Labels are what the file stores: levels, or places in a palette.
    decoder.set_transformations(Transformations::IDENTITY);
    let reader = decoder.read_info().map_err(|e| malformed(path, e))?;
    let info = reader.info();
    if info.width.max(info.height) as usize > MAX_SIDE {
        let found = format!("{}x{} pixels", info.width, info.height);
        return Err(malformed(path, found));
    }
    match info.color_type {
        ColorType::Grayscale | ColorType::Indexed => Ok(reader),
        other => Err(malformed(path, format!("{other:?}"))),
    }
}

/// Rows and columns, from the header alone.
fn extents(path: &Path) -> Result<[usize; 2], DataError> {
    let reader = opened(path)?;
    let info = reader.info();
    Ok([info.height as usize, info.width as usize])
}

/// Rows and columns, and the label of every pixel.
fn read(path: &Path) -> Result<([usize; 2], Vec<i64>), DataError> {
    let mut reader = opened(path)?;
    let [height, width] = [reader.info().height, reader.info().width].map(|n| n as usize);
    let depth = reader.info().bit_depth;
    let size = reader.output_buffer_size();
    let size = size.ok_or_else(|| malformed(path, "too many pixels"))?;
    let mut bytes = vec![0; size];
    let frame = reader
        .next_frame(&mut bytes)
        .map_err(|e| malformed(path, e))?;
    let lines = bytes.chunks_exact(frame.line_size.max(1)).take(height);
    let labels = lines.flat_map(|line| unpacked(line, depth, width));
    Ok(([height, width], labels.collect()))
}

/// The values of a line.
fn unpacked(line: &[u8], depth: BitDepth, width: usize) -> Vec<i64> {
    let bits = depth as usize;
    match depth {
        BitDepth::Sixteen => {
            let pairs = line.chunks_exact(2).take(width);
            pairs
                .map(|b| i64::from(u16::from_be_bytes([b[0], b[1]])))
                .collect()
        }
        BitDepth::Eight => line.iter().take(width).map(|b| i64::from(*b)).collect(),
        _ => {
            let value = |i: usize| {
                let shift = 8 - bits - (i * bits) % 8;
                i64::from(line[i * bits / 8] >> shift) & ((1 << bits) - 1)
            };
            (0..width).map(value).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, kind: ColorType, depth: BitDepth, bytes: &[u8]) {
        let mut encoder = png::Encoder::new(File::create(path).unwrap(), 5, 2);
        encoder.set_color(kind);
        encoder.set_depth(depth);
        if kind == ColorType::Indexed {
            encoder.set_palette((0..16).map(|i| 3 * i).collect::<Vec<u8>>());
        }
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(bytes).unwrap();
    }

    #[test]
    fn labels_are_what_is_stored() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        let check = |kind, depth, bytes: &[u8], expected: [i64; 10]| {
            write(&path, kind, depth, bytes);
            assert_eq!(extents(&path).unwrap(), [2, 5]);
            assert_eq!(
                read(&path).unwrap(),
                ([2, 5], expected.to_vec()),
                "{depth:?}"
            );
        };
        let eight = [0, 1, 2, 255, 4, 5, 6, 7, 8, 9];
        check(
            ColorType::Grayscale,
            BitDepth::Eight,
            &eight,
            eight.map(i64::from),
        );
        let places = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
        check(
            ColorType::Indexed,
            BitDepth::Eight,
            &places,
            places.map(i64::from),
        );
        let four = [0x12, 0x34, 0x50, 0x6f, 0x01, 0x20];
        check(
            ColorType::Indexed,
            BitDepth::Four,
            &four,
            [1, 2, 3, 4, 5, 6, 15, 0, 1, 2],
        );
        let one = [0b1010_1000, 0b0101_1000];
        check(
            ColorType::Grayscale,
            BitDepth::One,
            &one,
            [1, 0, 1, 0, 1, 0, 1, 0, 1, 1],
        );
        let sixteen: Vec<u8> = (0..10u16).flat_map(|i| (i * 300).to_be_bytes()).collect();
        let expected = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(|i| i * 300);
        check(ColorType::Grayscale, BitDepth::Sixteen, &sixteen, expected);
    }

    #[test]
    fn colours_and_damage_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        write(&path, ColorType::Rgb, BitDepth::Eight, &[7; 30]);
        let error = extents(&path).unwrap_err().to_string();
        assert!(
            error.contains("a.png") && error.ends_with("found Rgb"),
            "{error}"
        );
        write(&path, ColorType::Grayscale, BitDepth::Eight, &[7; 10]);
        let good = std::fs::read(&path).unwrap();
        for cut in 0..good.len() - 12 {
            std::fs::write(&path, &good[..cut]).unwrap();
            assert!(read(&path).is_err(), "{cut} of {}", good.len());
        }
    }
}
