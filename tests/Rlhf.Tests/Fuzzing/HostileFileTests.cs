using System.IO.Compression;
using System.Text;
using Rlhf.Cli.Settings;
using Rlhf.Data;
using Rlhf.Models;
using Rlhf.Models.Encoders;
using Rlhf.Models.Gpt2;
using Rlhf.Runtime;
using Rlhf.Tokenizers;
using Rlhf.Weights;

namespace Rlhf.Tests.Fuzzing;

/// <summary>
/// Files that are made to exhaust or crash a program, and that fuzzing cannot make because they are too large, or no files.
/// </summary>
public sealed class HostileFileTests : IDisposable
{
    private const long MostAllocated = 512 << 20;
    private readonly Fixtures.TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private string Write(string name, string content) => Write(name, Encoding.UTF8.GetBytes(content));

    private string Write(string name, byte[] content)
    {
        var path = Path.Combine(folder.Path, name);
        File.WriteAllBytes(path, content);
        return path;
    }

    /// <summary>The reader refuses, names the file and does not fill the memory.</summary>
    private static string Refused(string path, Action read)
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        var error = Assert.IsAssignableFrom<InvalidDataException>(Record.Exception(read));
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, MostAllocated);
        Assert.Contains(path, error.Message);
        Assert.InRange(error.Message.Length, 1, 2000);
        return error.Message;
    }

    public static TheoryData<string> JsonFiles =>
    [
        "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "model.safetensors.index.json",
        "t.jsonl",
    ];

    private void ReadJson(string name, string path)
    {
        switch (name)
        {
            case "config.json": AutoModelForSequenceClassification.Labels(folder.Path); break;
            case "model.safetensors.index.json": WeightFiles.OpenFile(path); break;
            case "t.jsonl": ReviewDataset.Load(path); break;
            default:
                if (name != "tokenizer.json")
                    Write("vocab.txt", "[UNK]\na\n");
                AutoTokenizer.FromPretrained(folder.Path);
                break;
        }
    }

    /// <summary>A million brackets would overflow the stack of a reader that follows them by recursion.</summary>
    [Theory]
    [MemberData(nameof(JsonFiles))]
    public void DeepJsonIsRefused(string name)
    {
        foreach (var nest in new[] { "[", "{\"a\":" })
        {
            var path = Write(name, "{\"text\":" + string.Concat(Enumerable.Repeat(nest, 100_000)));
            Refused(path, () => ReadJson(name, path));
        }
    }

    [Theory]
    [MemberData(nameof(JsonFiles))]
    public void BytesThatAreNotUtf8AreRefused(string name)
    {
        var path = Write(name, [.. "{\"a\":\""u8, 0xff, 0xfe, 0x80, .. "\"}"u8]);
        Refused(path, () => ReadJson(name, path));
    }

    /// <summary>What is read only to be written again must be writable: a run saves its tokenizer at its end.</summary>
    [Theory]
    [InlineData("{\"chat_template\":\"\\ud800\"}")]
    [InlineData("{\"\\udc00\":1}")]
    [InlineData("{\"a\":1,\"a\":2}")]
    public void ConfigurationsThatCouldNotBeSavedAreRefused(string content)
    {
        Write("vocab.txt", "[UNK]\na\n");
        Write("tokenizer_config.json", content);
        Refused(folder.Path, () => AutoTokenizer.FromPretrained(folder.Path));
    }

    [Theory]
    [InlineData("vocab_size", "4000000", "n_embd", "60000", "200,000,000,000")]
    [InlineData("n_layer", "1024", "n_inner", "262144", "200,000,000,000")]
    [InlineData("n_embd", "99999999999999999999", "n_head", "1", "not a whole number")]
    [InlineData("n_layer", "-1", "n_head", "1", "not a whole number")]
    [InlineData("n_layer", "1e9", "n_head", "1", "not a whole number")]
    [InlineData("vocab_size", "3000000", "n_head", "1", "holds 0")]
    public void AbsurdSizesAreRefusedBeforeMemoryIsTaken(string key, string value, string other, string otherValue, string why)
    {
        Write("config.json", $"{{\"model_type\":\"gpt2\",\"{key}\":{value},\"{other}\":{otherValue}}}");
        Write("model.safetensors", [2, 0, 0, 0, 0, 0, 0, 0, .. "{}"u8]);
        Assert.Contains(why, Refused(folder.Path, () => AutoModelForCausalLM.FromPretrained(folder.Path)));
        Assert.Contains(why, Refused(folder.Path, () => CausalLMWithValueHead.FromPretrained(folder.Path)));
        Assert.Contains(why, Refused(folder.Path, () => AutoModelForSequenceClassification.FromPretrained(folder.Path)));
    }

    [Fact]
    public void VocabulariesBeyondAnyModelAreRefused()
    {
        var path = Write("vocab.txt", new string('\n', PretrainedTokenizer.MostTokens + 1));
        Assert.Contains("lines", Refused(path, () => AutoTokenizer.FromPretrained(folder.Path)));
        File.Delete(path);
        Write("tokenizer.json", "{\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"model\":{\"type\":\"WordPiece\","
            + "\"unk_token\":\"a\",\"vocab\":{\"a\":0,\"b\":2147483647}}}");
        Assert.Contains("between 0 and", Refused(folder.Path, () => AutoTokenizer.FromPretrained(folder.Path)));
    }

    /// <summary>A thousandth of what it unpacks to.</summary>
    [Fact]
    public void CompressedBombsAreStopped()
    {
        var path = Path.Combine(folder.Path, "bomb.tar.gz");
        using (var zip = new GZipStream(File.Create(path), CompressionLevel.Fastest))
            for (int i = 0; i < 64; i++)
                zip.Write(new byte[1 << 20]);
        var options = new ReviewReadOptions { MaxArchiveBytes = 8 << 20 };
        Assert.Contains("unpacks to more", Refused(path, () => ReviewDataset.Load(path, options)));
    }

    /// <summary>Settings are read by their own rules: nothing is expanded, and no tag names a type.</summary>
    [Theory]
    [InlineData("a: &x [1]\nb: *x", "line 1")]
    [InlineData("a: !!python/object:os.system x", "type tags")]
    [InlineData("seed: [[[[1]]]]", "single value")]
    [InlineData("seed: 1\n%Y", "line 2")]
    public void SettingsThatDoMoreThanSetAreRefused(string yaml, string why)
    {
        var path = Write("run.yaml", yaml);
        Assert.Contains(why, Assert.Throws<ConfigurationException>(() => YamlSettingsFile.Read(path)).Message);
    }

    [Fact]
    public void DeepAndLongSettingsAreRefused()
    {
        foreach (var text in new[]
        {
            new string('[', 500_000), new string('{', 500_000), string.Concat(Enumerable.Repeat("- ", 200_000)),
            string.Concat(Enumerable.Repeat("? ", 200_000)), "a: " + new string('[', 500_000), new string(' ', 2 << 20),
        })
            Assert.Throws<ConfigurationException>(() => YamlSettingsFile.Read(Write("run.yaml", text)));
    }

    [Fact]
    public void RefusalsQuoteNoControlCharacters()
    {
        const string Evil = "\\u001b[2J\\u009b31m\\u202e\\n";
        var path = Write("t.jsonl", $"{{\"{Evil}\":1}}");
        Assert.DoesNotContain(Refused(path, () => ReviewDataset.Load(path)), c => char.IsControl(c) || c == '\u202e');
        path = Write("config.json", $"{{\"model_type\":\"bert\",\"hidden_act\":\"{Evil}\"}}");
        Assert.DoesNotContain(Refused(path, () => BertConfig.Load(folder.Path)), c => char.IsControl(c) || c == '\u202e');
        path = Write("config.json", $"{{\"activation_function\":\"{Evil}\"}}");
        Assert.DoesNotContain(Refused(path, () => Gpt2Config.Load(folder.Path)), c => char.IsControl(c) || c == '\u202e');
    }
}
