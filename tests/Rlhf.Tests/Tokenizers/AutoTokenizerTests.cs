using System.Text.Json.Nodes;
using Rlhf.Tokenizers;

namespace Rlhf.Tests.Tokenizers;

public sealed class AutoTokenizerTests : IDisposable
{
    // The layout of gpt2's and roberta-base's tokenizer.json, with a vocabulary of a few tokens.
    private const string RobertaJson = """
        {
          "version": "1.0", "truncation": null, "padding": null,
          "added_tokens": [
            {"id": 0, "special": true, "content": "<s>", "lstrip": false, "normalized": true},
            {"id": 1, "special": true, "content": "<pad>", "lstrip": false, "normalized": true},
            {"id": 2, "special": true, "content": "</s>", "lstrip": false, "normalized": true},
            {"id": 3, "special": true, "content": "<unk>", "lstrip": false, "normalized": true},
            {"id": 9, "special": true, "content": "<mask>", "lstrip": true, "normalized": true}
          ],
          "normalizer": null,
          "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true},
          "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": true},
          "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true},
          "model": {
            "dropout": null, "unk_token": null, "continuing_subword_prefix": "", "end_of_word_suffix": "", "fuse_unk": false,
            "vocab": {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "b": 5, "Ġ": 6, "ab": 7, "Ġab": 8, "<mask>": 9},
            "merges": ["a b", ["Ġ", "ab"]]}
        }
        """;

    private const string Bpe = """{"pre_tokenizer": {"type": "ByteLevel"}, "model": {"type": "BPE", """;

    private readonly Fixtures.TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void Reads_a_roberta_tokenizer_json()
    {
        Write("tokenizer.json", RobertaJson.Replace("[\"Ġ\", \"ab\"]", "\"Ġ ab\""));
        var tokenizer = Open();
        Assert.Equal([0, 7, 8, 2], tokenizer.Encode("ab ab"));
        Assert.Equal([0, 7, 2, 2, 7, 2], tokenizer.EncodePair("ab", "ab"));
        Assert.Equal([0, 7, 9, 6, 4, 2], tokenizer.Encode("ab <mask> a"));
        Assert.Equal("ab<mask> a", tokenizer.Decode([7, 9, 6, 4]));
        Assert.Equal((0, 2, 1, 3), (tokenizer.BosTokenId, tokenizer.EosTokenId, tokenizer.PadTokenId, tokenizer.UnkTokenId));
        Assert.Equal((0, 2, 9), (tokenizer.ClsTokenId, tokenizer.SepTokenId, tokenizer.MaskTokenId));
        Assert.Equal([0, 2], tokenizer.EncodeTruncated("ab ab", 2));
    }

    [Fact]
    public void Saving_keeps_everything()
    {
        Write("tokenizer.json", RobertaJson.Replace("\"a b\"", "[\"a\", \"b\"]"));
        Write("tokenizer_config.json", """
            {"model_max_length": 512, "tokenizer_class": "RobertaTokenizerFast", "padding_side": "left",
             "chat_template": "{{ x }}", "additional_special_tokens": ["<extra>"], "added_tokens_decoder": {
               "10": {"content": "<extra>", "lstrip": false, "rstrip": true, "single_word": true, "special": true}}}
            """);
        var tokenizer = Open();
        var saved = System.IO.Path.Combine(folder.Path, "saved");
        tokenizer.SavePretrained(saved);
        var again = (PretrainedTokenizer)AutoTokenizer.FromPretrained(saved);
        Assert.Equal(tokenizer.Settings.AddedTokens, again.Settings.AddedTokens);
        Assert.Equal(PaddingSide.Left, again.Settings.PaddingSide);
        Assert.Equal(("RobertaTokenizer", 512, 11), (again.Settings.TokenizerClass, again.ModelMaxLength, again.VocabSize));
        var configuration = JsonNode.Parse(File.ReadAllText(System.IO.Path.Combine(saved, "tokenizer_config.json")))!;
        Assert.Equal("{{ x }}", configuration["chat_template"]!.GetValue<string>());
        // <extra> stands alone only, and swallows the spaces behind it.
        Assert.Equal([0, 7, 6, 10, 4, 2], again.Encode("ab <extra>  a"));
        Assert.DoesNotContain(10, again.Encode("ab<extra>"));
        Assert.Equal([0, 7, 2, 2, 8, 2], again.EncodePair("ab", " ab"));
    }

    [Fact]
    public void Huge_limits_and_new_special_tokens_are_understood()
    {
        Write("vocab.json", """{"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3}""");
        Write("merges.txt", "#version: 0.2\na b\n");
        Write("tokenizer_config.json", """
            {"model_max_length": 1000000000000000019884624838656,
             "eos_token": {"content": "<|endoftext|>", "__type": "AddedToken"}}
            """);
        Write("special_tokens_map.json", """{"pad_token": "[PAD]", "unk_token": null}""");
        Write("added_tokens.json", """{"[USER]": 4}""");
        var tokenizer = Open();
        Assert.Equal(int.MaxValue, tokenizer.ModelMaxLength);
        Assert.Equal(5, tokenizer.PadTokenId);
        Assert.Equal((3, 3, null), (tokenizer.BosTokenId, tokenizer.EosTokenId, tokenizer.UnkTokenId));
        Assert.Equal([2, 4, 3, 5], tokenizer.Encode("ab[USER]<|endoftext|>[PAD]"));
        Assert.Equal("ab[USER]", tokenizer.Decode([2, 4, 3, 5], skipSpecialTokens: true));
        Assert.Throws<ArgumentOutOfRangeException>(() => tokenizer.Decode([6]));
        Assert.Throws<ArgumentOutOfRangeException>(() => tokenizer.Decode([-1]));
    }

    [Fact]
    public void Vocabulary_lines_follow_the_configuration()
    {
        Write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nÄ\na\n##b\n中\n");
        Write("tokenizer_config.json", """{"do_lower_case": false, "strip_accents": null, "tokenize_chinese_chars": false}""");
        var tokenizer = Open();
        Assert.Equal([2, 5, 6, 7, 3], tokenizer.Encode("Ä ab"));
        Assert.Equal([2, 1, 3], tokenizer.Encode("中中"));
        Write("tokenizer_config.json", "{}");
        Assert.Equal([2, 6, 8, 8, 3], Open().Encode("Ä中中"));
    }

    [Theory]
    [InlineData("tokenizer.json", "{", "tokenizer.json is not valid JSON")]
    [InlineData("tokenizer.json", "[]", "must be a JSON object")]
    [InlineData("tokenizer.json", "{}", "lacks 'model'")]
    [InlineData("tokenizer.json", """{"model": {"type": "Unigram", "vocab": []}}""", "model.vocab holds no tokens")]
    [InlineData("tokenizer.json", """{"pre_tokenizer": {"type": "Metaspace"}, "model": {"type": "BPE"}}""", "pre_tokenizer")]
    [InlineData("tokenizer.json", Bpe + """ "vocab": {"a": -1}, "merges": []}}""", "model.vocab.a")]
    [InlineData("tokenizer.json", Bpe + """ "vocab": {"a": 2000000000}, "merges": []}}""", "ids must lie")]
    [InlineData("tokenizer.json", Bpe + """ "vocab": {"a": 0, "b": 0}, "merges": []}}""", "share the id 0")]
    [InlineData("tokenizer.json", Bpe + """ "vocab": {"a": 0}, "merges": ["a b"]}}""", "'b', which is not in the vocabulary")]
    [InlineData("tokenizer.json", Bpe + """ "vocab": {"a": 0}, "merges": ["a"]}}""", "model.merges[0]")]
    [InlineData("tokenizer.json", Bpe + """ "vocab": {"\ud800": 0}, "merges": []}}""", "not valid Unicode")]
    [InlineData("vocab.txt", "a\nb\n", "lacks the unknown token")]
    [InlineData("tokenizer_config.json", """{"padding_side": "top"}""", "padding_side")]
    [InlineData("tokenizer_config.json", """{"model_max_length": "long"}""", "model_max_length")]
    [InlineData("tokenizer_config.json", """{"tokenizer_class": "Qwen2Tokenizer"}""", "Qwen2Tokenizer")]
    [InlineData("special_tokens_map.json", """{"pad_token": 3}""", "pad_token")]
    [InlineData("added_tokens.json", """{"x": "y"}""", "added_tokens.json: x")]
    [InlineData("merges.txt", "#version: 0.2\na  b\n", "line 2")]
    public void Malformed_files_are_named(string file, string content, string complaint)
    {
        if (file != "vocab.txt")
        {
            Write("vocab.json", """{"a": 0, "b": 1, "ab": 2}""");
            Write("merges.txt", "#version: 0.2\na b\n");
        }
        Write(file, content);
        var error = Assert.Throws<InvalidDataException>(() => AutoTokenizer.FromPretrained(folder.Path));
        Assert.Contains(complaint, error.Message);
        Assert.Contains(folder.Path, error.Message);
    }

    [Fact]
    public void Missing_files_are_named()
    {
        Assert.Contains("tokenizer.json", Assert.Throws<FileNotFoundException>(() => Open()).Message);
        Write("vocab.json", "{}");
        Assert.Contains("merges.txt", Assert.Throws<FileNotFoundException>(() => Open()).Message);
        Directory.Delete(folder.Path, recursive: true);
        Assert.Throws<DirectoryNotFoundException>(() => Open());
        Directory.CreateDirectory(folder.Path);
    }

    [Fact]
    public void Several_threads_get_the_same_ids()
    {
        var texts = Enumerable.Range(0, 400).Select(i => $"review {i % 50}: it's the {i % 7}th film, über-great {i}").ToArray();
        foreach (var tokenizer in new ITokenizer[] { ByteLevelBpeTrainer.Train(texts, 320), WordPieceTrainer.Train(texts, 150) })
        {
            var alone = texts.Select(t => tokenizer.Encode(t)).ToArray();
            tokenizer.SavePretrained(folder.Path);
            var fresh = AutoTokenizer.FromPretrained(folder.Path);
            var together = new int[texts.Length][];
            Parallel.For(0, texts.Length, i => together[i] = fresh.Encode(texts[i]));
            Assert.Equal(alone, together);
        }
    }

    private PretrainedTokenizer Open() => Assert.IsAssignableFrom<PretrainedTokenizer>(AutoTokenizer.FromPretrained(folder.Path));

    private void Write(string name, string content) => File.WriteAllText(System.IO.Path.Combine(folder.Path, name), content);
}
