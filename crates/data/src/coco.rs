//! COCO annotations: `images`, `annotations` with boxes, and `categories`
//! (<https://cocodataset.org/#format-data>, "Object Detection").

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use crate::annotations::{Category, Object};
use crate::error::DataError;
use crate::geometry::Geometry;

/// A file of annotations.
#[derive(Debug)]
pub(crate) struct Coco {
    /// In the order of the file.
    pub images: Vec<Image>,
    /// By rising number.
    pub categories: Vec<Category>,
    /// Boxes by image.
    boxes: Vec<Vec<Entry>>,
}

/// An entry of `images`.
#[derive(Debug, Deserialize)]
pub(crate) struct Image {
    id: i64,
    #[serde(default)]
    pub file_name: String,
    width: Option<usize>,
    height: Option<usize>,
}

/// A box of an image: left, top, width and height in its pixels.
#[derive(Clone, Copy, Debug)]
struct Entry {
    bounds: [f64; 4],
    category: usize,
    crowd: bool,
}

#[derive(Deserialize)]
struct Parsed {
    images: Vec<Image>,
    annotations: Vec<ParsedBox>,
    categories: Vec<ParsedCategory>,
}

#[derive(Deserialize)]
struct ParsedBox {
    image_id: i64,
    category_id: i64,
    bbox: [f64; 4],
    #[serde(default)]
    iscrowd: Flag,
}

#[derive(Deserialize)]
struct ParsedCategory {
    id: i64,
    #[serde(default)]
    name: String,
}

/// 0 and 1, or false and true.
#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Number(i64),
    Plain(bool),
}

impl Default for Flag {
    fn default() -> Self {
        Self::Plain(false)
    }
}

impl Coco {
    /// Reads a file. With the names of `classes`, line i of which is class i, categories have the class
    /// of their name.
    ///
    /// # Errors
    /// [`DataError::Io`], [`DataError::Malformed`] for other content, for numbers used twice or unknown, and
    /// for boxes of categories that are not in `classes`.
    pub fn read(path: &Path, classes: Option<&[String]>) -> Result<Self, DataError> {
        let text = std::fs::read(path).map_err(DataError::io(path, "read"))?;
        let parsed: Parsed = serde_json::from_slice(&text).map_err(|error| {
            let expected = "COCO annotations in JSON (images, annotations with bbox, categories)";
            DataError::malformed(path, expected, error)
        })?;
        let categories = categories(parsed.categories, classes);
        let ids = categories.iter().map(|category| category.id);
        let by_category = positions(path, "categories", ids)?;
        let ids = parsed.images.iter().map(|image| image.id);
        let by_image = positions(path, "images", ids)?;
        let mut boxes = vec![Vec::new(); parsed.images.len()];
        for (i, one) in parsed.annotations.iter().enumerate() {
            let unknown = |what: &str, id: i64| {
                let expected = format!("a {what} of annotation {i} that is listed");
                DataError::malformed(path, expected, id)
            };
            let image = by_image.get(&one.image_id);
            let image = image.ok_or_else(|| unknown("image_id", one.image_id))?;
            let category = by_category.get(&one.category_id);
            let category = category.ok_or_else(|| unknown("category_id", one.category_id))?;
            let of = &categories[*category];
            if classes.is_some() && of.class.is_none() {
                let expected = "categories whose names are listed in the classes file";
                return Err(DataError::malformed(
                    path,
                    expected,
                    format!("'{}'", of.name),
                ));
            }
            let [_, _, width, height] = one.bbox;
            if width < 0.0 || height < 0.0 {
                let expected = format!("a bbox of annotation {i} of left, top, width and height");
                return Err(DataError::malformed(
                    path,
                    expected,
                    format!("{:?}", one.bbox),
                ));
            }
            boxes[*image].push(Entry {
                bounds: one.bbox,
                category: *category,
                crowd: matches!(one.iscrowd, Flag::Plain(true) | Flag::Number(1..)),
            });
        }
        Ok(Self {
            images: parsed.images,
            categories,
            boxes,
        })
    }

    /// The objects of an image, in pixels of the model's input.
    pub fn objects(&self, image: usize, geometry: &Geometry) -> Vec<Object> {
        let boxes = self.boxes[image].iter();
        boxes
            .filter_map(|one| {
                Some(Object {
                    corners: geometry.corners(one.bounds)?,
                    category: one.category,
                    crowd: one.crowd,
                })
            })
            .collect()
    }

    /// Refuses an image whose extents are said to be others than rows and columns of the picture.
    pub fn check_extents(
        &self,
        path: &Path,
        image: usize,
        [height, width]: [usize; 2],
    ) -> Result<(), DataError> {
        let image = &self.images[image];
        let said = (image.width.unwrap_or(width), image.height.unwrap_or(height));
        if said == (width, height) {
            return Ok(());
        }
        Err(DataError::mismatch(
            path,
            format!("image {} '{}'", image.id, image.file_name),
            format!("{width}x{height} (width x height), as the picture"),
            format!("{}x{}", said.0, said.1),
        ))
    }
}

/// The categories by rising number.
fn categories(mut parsed: Vec<ParsedCategory>, classes: Option<&[String]>) -> Vec<Category> {
    parsed.sort_by_key(|category| category.id);
    let categories = parsed
        .into_iter()
        .map(|ParsedCategory { id, name }| Category {
            class: classes.and_then(|all| all.iter().position(|class| *class == name)),
            id,
            name,
        });
    categories.collect()
}

/// Positions by number.
fn positions(
    path: &Path,
    what: &str,
    ids: impl Iterator<Item = i64>,
) -> Result<HashMap<i64, usize>, DataError> {
    let mut all = HashMap::new();
    for (i, id) in ids.enumerate() {
        if all.insert(id, i).is_some() {
            let expected = format!("{what} with an id of their own");
            return Err(DataError::malformed(path, expected, format!("two of {id}")));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, classes: Option<&[String]>) -> Result<Coco, DataError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("coco.json");
        std::fs::write(&path, text).unwrap();
        Coco::read(&path, classes)
    }

    const GOOD: &str = r#"{
        "info": {"year": 2017},
        "images": [{"id": 7, "file_name": "b.jpg", "width": 8, "height": 4}, {"id": 3}],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 90, "bbox": [1, 2, 3, 1.5], "iscrowd": 1, "area": 4.5},
            {"image_id": 7, "category_id": 1, "bbox": [0, 0, 2, 2], "segmentation": [[0, 0, 1, 1]]}
        ],
        "categories": [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}]
    }"#;

    #[test]
    fn a_file_is_read() {
        let coco = read(GOOD, None).unwrap();
        let names: Vec<&str> = coco.categories.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["person", "toothbrush"]);
        let geometry = Geometry::of(&crate::Preprocess::default(), "x", 4, 8).unwrap();
        let crowd = Object {
            corners: [1.0, 2.0, 4.0, 3.5],
            category: 1,
            crowd: true,
        };
        assert_eq!(coco.objects(1, &geometry), [crowd]);
        assert!(!coco.objects(0, &geometry)[0].crowd);
        let path = Path::new("c.json");
        assert!(coco.check_extents(path, 1, [9, 9]).is_ok());
        let odd = coco.check_extents(path, 0, [8, 4]).unwrap_err();
        assert_eq!(
            odd.to_string(),
            "c.json: image 7 'b.jpg': expected 4x8 (width x height), as the picture, found 8x4"
        );
        let classes = ["toothbrush", "person"].map(str::to_owned);
        let coco = read(GOOD, Some(&classes)).unwrap();
        let known: Vec<_> = coco.categories.iter().map(|c| c.class).collect();
        assert_eq!(known, [Some(1), Some(0)]);
    }

    #[test]
    fn bad_files_are_refused_in_one_line() {
        for (from, to, part) in [
            ("\"images\"", "\"pictures\"", "images"),
            (
                "\"image_id\": 7",
                "\"image_id\": 8",
                "image_id of annotation 1",
            ),
            ("\"category_id\": 1", "\"category_id\": 2", "category_id"),
            ("[0, 0, 2, 2]", "[0, 0, -2, 2]", "bbox of annotation 1"),
            ("[0, 0, 2, 2]", "[0, 0, 2]", "COCO annotations"),
            ("\"id\": 3", "\"id\": 7", "two of 7"),
            ("\"id\": 90,", "\"id\": 1,", "two of 1"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let error = read(&GOOD.replace(from, to), None).unwrap_err().to_string();
            assert!(error.contains(part), "{from}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
        let error = read(GOOD, Some(&["person".to_owned()])).unwrap_err();
        assert!(error.to_string().contains("'toothbrush'"), "{error}");
    }
}
