using Rlhf.Data;
using Rlhf.Data.Files;

namespace Rlhf.Tests.Data;

/// <summary>Splits are told apart as Hugging Face's datasets library does (its DataFilesPatterns), and never mixed.</summary>
public sealed class SplitTests : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Theory]
    // Folders by keyword, at any depth; the Hub's converted layout.
    [InlineData("train/a.csv test/a.csv", "train", "train/a.csv")]
    [InlineData("train/a.csv test/a.csv", "test", "test/a.csv")]
    [InlineData("default/train/0000.csv default/test/0000.csv default/validation/0000.csv", null, "default/train/0000.csv")]
    [InlineData("data/train_v2/x.csv data/dev/x.csv", "validation", "data/dev/x.csv")]
    // A folder's keyword comes before a name's, and files outside of such folders are left out.
    [InlineData("train/my_test.csv test/b.csv extra.csv", null, "train/my_test.csv")]
    // Shards, also of splits by other names.
    [InlineData("data/train-00000-of-00002.csv data/train-00001-of-00002.csv data/test-00000-of-00001.csv", null,
        "data/train-00000-of-00002.csv data/train-00001-of-00002.csv")]
    [InlineData("data/train-00000-of-00001.csv data/hard-00000-of-00001.csv", "hard", "data/hard-00000-of-00001.csv")]
    // Keywords between separators in names: - . _ space and digits.
    [InlineData("imdb_train.csv imdb_test.csv", null, "imdb_train.csv")]
    [InlineData("imdb_train.csv imdb_test.csv", "test", "imdb_test.csv")]
    [InlineData("reviews.training.csv reviews.evaluation.csv", "train", "reviews.training.csv")]
    [InlineData("reviews.training.csv reviews.evaluation.csv", "test", "reviews.evaluation.csv")]
    [InlineData("train2.csv train1.csv val1.csv", null, "train1.csv train2.csv")]
    [InlineData("imdb_train.csv more.csv", null, "imdb_train.csv")]
    // No keyword: letters stand beside it.
    [InlineData("constraints.csv latest.csv", null, "constraints.csv latest.csv")]
    public void The_files_of_a_split(string files, string? split, string expected)
    {
        Make(files);
        Assert.Equal(expected.Split(' '), DataFiles.Find(folder.Path, split).Select(file => Path.GetRelativePath(folder.Path, file).Replace('\\', '/')));
    }

    [Fact]
    public void Several_splits_without_train_are_to_be_chosen_from()
    {
        Make("a_test.csv a_dev.csv");
        Assert.EndsWith("has the splits test, validation; choose one of them with Split.",
            Assert.Throws<ArgumentException>(() => DataFiles.Find(folder.Path, null)).Message);
        Assert.EndsWith("has no split \"train\": its names tell test, validation. Choose another Split, leave it out, or name the file itself.",
            Assert.Throws<ArgumentException>(() => DataFiles.Find(folder.Path, "train")).Message);
    }

    [Fact]
    public void What_save_to_disk_wrote_is_known()
    {
        Make("train/data-00000-of-00001.arrow train/state.json train/dataset_info.json dataset_dict.json");
        Assert.Contains("save_to_disk", Assert.Throws<ArgumentException>(() => DataFiles.Find(folder.Path, null)).Message);
    }

    [Fact]
    public void Compressed_tables_are_read()
    {
        foreach (var (name, content) in new[] { ("a.jsonl.gz", "{\"text\":\"one\"}\n{\"text\":\"two\"}\n"), ("a.csv.gz", "text\none\ntwo\n"), ("a.txt.gz", "one\ntwo\n") })
        {
            string path = Path.Combine(folder.Path, name);
            using (var packed = new System.IO.Compression.GZipStream(File.Create(path), System.IO.Compression.CompressionMode.Compress))
                packed.Write(System.Text.Encoding.UTF8.GetBytes(content));
            Assert.Equal(["one", "two"], ReviewDataset.Load(path).Select(r => r.Text));
        }
        string broken = Path.Combine(folder.Path, "broken.csv.gz");
        File.WriteAllText(broken, "text\none\n");
        Assert.StartsWith($"{broken} is not a gzip file that can be unpacked", Assert.Throws<InvalidDataException>(() => ReviewDataset.Load(broken)).Message);
    }

    [Theory]
    [InlineData("data.parquet")]
    [InlineData("data.jsonl")]
    [InlineData("data.csv")]
    [InlineData("data.csv.gz")]
    public void A_pointer_of_git_lfs_is_not_read_as_data(string name)
    {
        string path = Path.Combine(folder.Path, name);
        File.WriteAllText(path, "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n");
        Assert.Equal($"{path} is a Git LFS pointer, not the data; run git lfs pull in its folder, or download the file.",
            Assert.Throws<InvalidDataException>(() => ReviewDataset.Load(path)).Message);
    }

    private void Make(string files)
    {
        foreach (string file in files.Split(' '))
        {
            string path = Path.Combine(folder.Path, file);
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllText(path, "text\nx\n");
        }
    }
}
