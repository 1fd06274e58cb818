using System.Text;
using System.Text.Json.Nodes;
using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Models.Gpt2;
using Rlhf.Tokenizers;

namespace Rlhf.Fuzz;

/// <summary>config.json, adapter_config.json, and the tokenizer files of a model folder.</summary>
internal static class ModelTargets
{
    private static readonly string[] Files =
    [
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
        "vocab.txt", "config.json",
    ];

    private const string Probe = "Hello, w\u00f6rld! <mask> [SEP] a\ud800b \u001b[31m \ud83d\ude00 ";

    private const string Bpe = """
        {"version":"1.0","added_tokens":[{"id":6,"content":"<mask>","lstrip":true,"special":true}],"normalizer":null,
        "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"use_regex":true},
        "post_processor":{"type":"RobertaProcessing","cls":["a",1],"sep":["b",2]},"decoder":{"type":"ByteLevel"},
        "model":{"type":"BPE","unk_token":null,"continuing_subword_prefix":"","byte_fallback":false,
        "vocab":{"l":0,"a":1,"b":2,"o":3,"ll":4,"llo":5},"merges":["l l",["ll","o"]]}}
        """;

    private const string WordPiece = """
        {"added_tokens":[{"id":0,"content":"[UNK]","special":true,"normalized":true},
        {"id":3,"content":"[SEP]","single_word":true}],
        "normalizer":{"type":"BertNormalizer","lowercase":true,"strip_accents":null},"pre_tokenizer":{"type":"BertPreTokenizer"},
        "post_processor":{"type":"TemplateProcessing",
        "single":[{"SpecialToken":{"id":"[SEP]","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
        "pair":[{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":1}}],
        "special_tokens":{"[SEP]":{"id":"[SEP]","ids":[3],"tokens":["[SEP]"]}}},"decoder":{"type":"WordPiece","cleanup":true},
        "model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":100,
        "vocab":{"[UNK]":0,"hell":1,"##o":2,"[SEP]":3,",":4,"a":5}}}
        """;

    private const string Configuration = """
        {"tokenizer_class":"GPT2Tokenizer","model_max_length":1e30,"padding_side":"left","pad_token":"[PAD]",
        "bos_token":{"content":"a","lstrip":true},"added_tokens_decoder":{"7":{"content":"<x>","special":true}},
        "additional_special_tokens":["<y>"],"add_prefix_space":true,"chat_template":"{{x}}"}
        """;

    private static readonly string[] Configs =
    [
        """
        {"model_type":"gpt2","vocab_size":512,"n_positions":64,"n_embd":64,"n_layer":2,"n_head":4,"n_inner":null,
        "activation_function":"gelu_new","resid_pdrop":0.1,"layer_norm_epsilon":1e-5,"eos_token_id":1,"pad_token_id":2}
        """,
        """
        {"model_type":"distilbert","vocab_size":30522,"dim":64,"n_layers":2,"n_heads":2,"hidden_dim":256,
        "seq_classif_dropout":0.2,"id2label":{"0":"NEG","1":"POS"},"sinusoidal_pos_embds":false}
        """,
        """
        {"model_type":"bert","hidden_size":64,"num_hidden_layers":2,"num_attention_heads":2,"intermediate_size":128,
        "type_vocab_size":2,"label2id":{"A":0,"B":"1"},"problem_type":"regression","hidden_act":"gelu"}
        """,
        """
        {"model_type":"roberta","num_labels":3,"max_position_embeddings":514,"pad_token_id":1,"layer_norm_eps":1e-5}
        """,
    ];

    private static readonly string[] AdapterConfigs =
    [
        """
        {"peft_type":"LORA","base_model_name_or_path":"org/base","revision":null,"task_type":"CAUSAL_LM","r":8,"lora_alpha":16,
        "lora_dropout":0.05,"target_modules":["q_proj","v_proj"],"exclude_modules":null,"rank_pattern":{"mlp.*":4},
        "alpha_pattern":{"q_proj":2.5},"use_rslora":true,"use_dora":false,"bias":"none","fan_in_fan_out":false,"loftq_config":{}}
        """,
        """
        {"peft_type":"LORA","r":1,"lora_alpha":1,"target_modules":"(?P<a>q|k)_proj(?P=a)?","modules_to_save":["score"],"bias":"lora_only",
        "layers_to_transform":[0,1],"layers_pattern":"h","init_lora_weights":"gaussian","use_dora":true,"inference_mode":true}
        """,
    ];

    private static readonly byte[][] Tokens = AllTargets.Json(
        "\"type\":\"ByteLevel\"", "\"type\":\"Sequence\",\"processors\":[", "{\"type\":\"Sequence\",\"processors\":[",
        "\"type\":\"WordPiece\"", "\"type\":\"BPE\"", "\"vocab\":{", "\"merges\":[", "\"added_tokens\":[",
        "{\"id\":4194303,\"content\":\"z\"}", "\"content\":\"\"", "\"lstrip\":true", "\"normalized\":true", "\"\":0", "4194303",
        "\"unk_token\":\"\"", "\"pad_token\":null", "\"\\u0130\"", "##", "\u00c3", "\ud83d\ude00", "l l\n", "#version: 0.2\n",
        "[UNK]\n");

    public static IEnumerable<FuzzTarget> Make(Scratch scratch)
    {
        var refused = typeof(InvalidDataException);
        yield return new("model-config", Config, AllTargets.Bytes(Configs), AllTargets.Json("\"id2label\":{", "\"num_labels\":",
            "\"n_embd\":", "\"\\ud800\":1,", "100000", "4000000", "65536"), refused);
        yield return new("adapter-config", input => Adapter(scratch, input), AllTargets.Bytes(AdapterConfigs), AllTargets.Json(
            "\"target_modules\":", "\"all-linear\"", "\"(a+)+b\"", "\"rank_pattern\":{", "\"layers_to_transform\":", "\"bias\":\"all\"", "\"pissa\"", "65536"), refused);
        var empty = Path.Combine(scratch.Folder, "none");
        yield return new(
            "tokenizer-json", input => Use(Read(empty, input)), AllTargets.Bytes(Bpe, WordPiece), Tokens, refused);
        string[] folders =
        [
            Sections(Bpe, Configuration), Sections(WordPiece, null, "{\"sep_token\":\"[SEP]\"}", "{\"<z>\":9}"),
            Sections(null, Configuration, null, null, """{"l":0,"o":1,"lo":2,"a":3}""", "#version: 0.2\nl o\n"),
            Sections(null, """{"do_lower_case":false,"tokenizer_class":"BertTokenizerFast"}""", null, null, null, null,
                "[UNK]\n[SEP]\nhell\n##o\na\n"),
            Sections(null, null, null, null, null, null, "[PAD]\n[UNK]\n[CLS]\n[SEP]\nhell\n", "{\"model_type\":\"bert\"}"),
        ];
        yield return new("tokenizer-folder", input => Folder(scratch, input), AllTargets.Latin1(folders), [.. Tokens, [0xff]],
            refused, typeof(FileNotFoundException));
    }

    /// <summary>Files of a folder with 0xFF, which no UTF-8 has, between them.</summary>
    private static string Sections(params string?[] files) => string.Join('\u00ff', files);

    private static void Config(byte[] input)
    {
        var config = ModelConfig.Parse(input, FuzzTarget.FileName);
        var shape = ModelShape.Of(config);
        _ = (config.EosTokenIds, config.BosTokenId, config.PadTokenId, LabelMaps.Read(config.Root));
        WrongResultException.Unless(
            shape.Parameters is > 0 and <= ClassifierConfig.MaxParameters, "an impossible number of weights");
    }

    private static void Adapter(Scratch scratch, byte[] input)
    {
        var file = LoraConfigFile.Parse(input, FuzzTarget.FileName);
        try
        {
            _ = file.Config.TargetModules?.Matches("model.layers.0.self_attn.q_proj");
        }
        catch (FormatException)
        {
            // An expression that takes too long is refused where it is used.
        }
        var folder = Directory.CreateDirectory(Path.Combine(scratch.Folder, "adapter")).FullName;
        string Saved(LoraConfigFile adapter)
        {
            adapter.Save(folder, fanInFanOut: false);
            return File.ReadAllText(Path.Combine(folder, LoraConfigFile.Name));
        }
        string saved = Saved(file);
        WrongResultException.Unless(Saved(LoraConfigFile.Read(folder)) == saved, "a configuration that changes when it is saved and read again");
    }

    internal static ITokenizer Read(string folder, byte[] json)
    {
        try
        {
            return TokenizerJson.Read(folder, JsonPlace.ParseObject(json, FuzzTarget.FileName), null, null);
        }
        catch (ArgumentException e)
        {
            throw AutoTokenizer.NoFit(folder, e);
        }
    }

    private static void Folder(Scratch scratch, byte[] input)
    {
        var folder = Directory.CreateDirectory(Path.Combine(scratch.Folder, "tokenizer")).FullName;
        var rest = input.AsSpan();
        foreach (var name in Files)
        {
            int end = rest.IndexOf((byte)0xff);
            var content = end < 0 ? rest : rest[..end];
            if (content.IsEmpty)
                File.Delete(Path.Combine(folder, name));
            else
                File.WriteAllBytes(Path.Combine(folder, name), content);
            rest = end < 0 ? [] : rest[(end + 1)..];
        }
        Use(AutoTokenizer.FromPretrained(folder));
    }

    /// <summary>A tokenizer that was read takes any text.</summary>
    internal static void Use(ITokenizer tokenizer)
    {
        var ids = tokenizer.Encode(Probe);
        WrongResultException.Unless(ids.All(id => id >= 0 && id < tokenizer.VocabSize), "an id outside the vocabulary");
        _ = tokenizer.Decode(ids);
        _ = tokenizer.Decode(tokenizer.EncodePair(Probe, Probe), skipSpecialTokens: true);
        var (bos, text) = (tokenizer.BosTokenId, Encoding.UTF8.GetByteCount(tokenizer.Decode(ids)));
        WrongResultException.Unless(bos is null || bos < tokenizer.VocabSize, "an id outside the vocabulary");
        WrongResultException.Unless(text < 1 << 20, "a text out of all proportion");
        // A run saves it at its end.
        var pretrained = (PretrainedTokenizer)tokenizer;
        JsonNode?[] saved = [TokenizerJson.Write(pretrained), TokenizerFiles.Configuration(pretrained)];
        WrongResultException.Unless(saved.All(json => json is null || json.ToJsonString().Length < 1 << 26), "files out of all proportion");
    }
}
