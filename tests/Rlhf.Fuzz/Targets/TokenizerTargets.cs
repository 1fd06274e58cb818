using System.Text;
using System.Text.Json;
using Rlhf.Tokenizers;
using Rlhf.Tokenizers.Pipeline;
using Rlhf.Tokenizers.Pipeline.Patterns;

namespace Rlhf.Fuzz;

/// <summary>tokenizer.json with every part that it may have, the patterns in it, and SentencePiece's own file.</summary>
internal static class TokenizerTargets
{
    private const string Added = """
        "added_tokens":[{"id":0,"content":"<s>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true},
        {"id":9,"content":"É w","single_word":true,"lstrip":true,"rstrip":true,"normalized":true,"special":false}],
        """;

    private const string Template = """
        "post_processor":{"type":"Sequence","processors":[{"type":"ByteLevel"},{"type":"TemplateProcessing",
        "single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
        "pair":[{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"<s>","type_id":1}},{"Sequence":{"id":"B","type_id":1}}],
        "special_tokens":{"<s>":{"id":"<s>","ids":[0],"tokens":["<s>"]}}}]},
        """;

    private const string Bpe = """
        "model":{"type":"BPE","dropout":null,"unk_token":"<s>","continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":true,
        "byte_fallback":true,"ignore_merges":false,"vocab":{"<s>":0,"▁":1,"h":2,"e":3,"he":4,"l":5,"ll":6,"<0x0A>":7,"▁he":8},
        "merges":["h e",["l","l"],["▁","he"]]}
        """;

    /// <summary>Each part in some seed.</summary>
    private static readonly string[] Seeds =
    [
        "{" + Added + """
            "normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},
            {"type":"Replace","pattern":{"String":" "},"content":"▁"}]},"pre_tokenizer":null,
            """ + Template + """
            "decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},
            {"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},
            """ + Bpe + "}",
        "{" + Added + """
            "normalizer":{"type":"NFC"},"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":
            "(?i:'s|'t)|[^\\r\\n\\p{L}]?+\\p{L}+|\\p{N}{1,3}|\\s+(?!\\S)|\\s+"},"behavior":"Isolated","invert":false},
            {"type":"Digits","individual_digits":true},{"type":"Punctuation","behavior":"Contiguous"},
            {"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":false}]},"decoder":{"type":"ByteLevel"},
            """ + Bpe.Replace("\"ignore_merges\":false", "\"ignore_merges\":true", StringComparison.Ordinal) + "}",
        """
            {"normalizer":{"type":"Sequence","normalizers":[{"type":"Nmt"},{"type":"NFKC"},{"type":"Strip","strip_left":true,
            "strip_right":true},{"type":"Replace","pattern":{"Regex":" {2,}"},"content":" "}]},"pre_tokenizer":{"type":"Sequence",
            "pretokenizers":[{"type":"WhitespaceSplit"},{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":true}]},
            "decoder":{"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true},"model":{"type":"Unigram","unk_id":0,
            "vocab":[["<unk>",0.0],["▁",-2.5],["he",-1.5],["l",-3],["<0x41>",-4]],"byte_fallback":true}}
            """,
        """
            {"normalizer":{"type":"Sequence","normalizers":[{"type":"NFD"},{"type":"StripAccents"},{"type":"Lowercase"},{"type":"NFKD"},
            {"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true}]},
            "pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Whitespace"},{"type":"BertPreTokenizer"},
            {"type":"CharDelimiterSplit","delimiter":"-"}]},"post_processor":{"type":"BertProcessing","sep":["a",1],"cls":["[UNK]",0]},
            "decoder":{"type":"WordPiece","prefix":"##","cleanup":true},"model":{"type":"WordPiece","unk_token":"[UNK]",
            "continuing_subword_prefix":"##","max_input_chars_per_word":100,"vocab":{"[UNK]":0,"a":1,"##b":2}}}
            """,
        """
            {"normalizer":{"type":"Precompiled","precompiled_charsmap":"BAAAAAAAAABhAA=="},"pre_tokenizer":{"type":"Split",
            "pattern":{"String":" "},"behavior":"MergedWithPrevious","invert":true},"post_processor":{"type":"RobertaProcessing",
            "sep":["a",1],"cls":["u",0],"trim_offsets":true,"add_prefix_space":true},"decoder":{"type":"BPEDecoder","suffix":"</w>"},
            "model":{"type":"WordLevel","unk_token":"u","vocab":{"u":0,"a":1}}}
            """,
    ];

    private static readonly string[] Patterns =
    [
        ChatWords.Llama3Pattern, ChatWords.Gpt4oPattern, ChatWords.Cl100kPattern, @"[一-龥぀-ゟ゠-ヿ]+", @"(?<=a)b|[\s\p{P}]|\x{41}\u0042\h",
    ];

    public static IEnumerable<FuzzTarget> Make(Scratch scratch)
    {
        var refused = typeof(InvalidDataException);
        var folder = Path.Combine(scratch.Folder, "none");
        var tokens = AllTargets.Json("\"behavior\":\"Removed\"", "\"MergedWithNext\"", "\"invert\":true", "\"prepend_scheme\":\"never\"",
            "\"Regex\":", "\"String\":", "(?:", "(?!\\\\S)", "(?i:", "\\\\p{L}", "++", "{0,9}", "[^", "&&", "\\\\w", "\"type\":\"NFKC\"",
            "\"type\":\"Sequence\",\"normalizers\":[", "\"type\":\"Sequence\",\"decoders\":[", "\"type\":\"Sequence\",\"pretokenizers\":[",
            "\"unk_id\":", "\"byte_fallback\":true", "\"fuse_unk\":false", "\"dropout\":0.1", "▁", "\"</w>\"", "4194303");
        yield return new(
            "tokenizer-pipeline", input => ModelTargets.Use(ModelTargets.Read(folder, input)), AllTargets.Bytes(Seeds), tokens, refused);
        yield return new("tokenizer-pattern", Pattern, AllTargets.Bytes(Patterns),
            AllTargets.Bytes("(?:", "(?=", "(?i)", "(?<!", "[^", "]", "-", "\\p{Lu}", "\\P{^N}", "\\w", "\\b", "++", "*?", "{2,3}+", "|", "^", "$"),
            refused);
        yield return new("sentencepiece-model", input => Model(folder, input), SentencePieces(),
            AllTargets.Latin1("\x0a\x08", "\x12\x02\x18\x02", "\x18\x06", "\x15\x00\x00\x80\xbf", "\xff\xff\xff\xff\x0f", "<0x41>"), refused);
    }

    /// <summary>A pattern that was translated is one that .NET takes, and it cuts text without losing any.</summary>
    private static void Pattern(byte[] input)
    {
        const string Probe = "It's 1234 𝒜bc  ſ\r\n é—漢字 ";
        var stretches = new List<Stretch>();
        var file = JsonSerializer.SerializeToUtf8Bytes(new { Regex = Encoding.UTF8.GetString(input) });
        var matcher = PatternReader.Read(JsonPlace.ParseObject(file, FuzzTarget.FileName));
        try
        {
            matcher.Find(Probe, stretches);
        }
        catch (PipelineLimitException)
        {
            return; // it took too long
        }
        WrongResultException.Unless(string.Concat(stretches.Select(s => Probe[s.Start..s.End])) == Probe, "text that was lost");
    }

    private static void Model(string folder, byte[] input)
    {
        try
        {
            var json = SentencePieceFile.ToTokenizerJson(input, FuzzTarget.FileName).ToJsonString();
            ModelTargets.Use(ModelTargets.Read(folder, Encoding.UTF8.GetBytes(json)));
        }
        catch (ArgumentException e)
        {
            throw new InvalidDataException($"{FuzzTarget.FileName}: {e.Message}", e);
        }
    }

    /// <summary>Small models of both kinds: pieces (field 1: text 1, score 2, type 3), then the trainer's settings (field 2: kind 3).</summary>
    private static byte[][] SentencePieces()
    {
        return [Of(1), Of(2)];
        static byte[] Of(byte kind)
        {
            var bytes = new List<byte>();
            foreach (var (text, score, type) in new[] { ("<unk>", 0f, 2), ("<s>", 0f, 3), ("<0x0A>", 0f, 6), ("▁", -1f, 1), ("a", -2f, 1), ("▁a", -3f, 1) })
            {
                byte[] utf8 = Encoding.UTF8.GetBytes(text);
                byte[] piece = [0x0A, (byte)utf8.Length, .. utf8, 0x15, .. BitConverter.GetBytes(score), 0x18, (byte)type];
                bytes.AddRange([0x0A, (byte)piece.Length, .. piece]);
            }
            bytes.AddRange([0x12, 2, 0x18, kind]);
            return [.. bytes];
        }
    }
}
