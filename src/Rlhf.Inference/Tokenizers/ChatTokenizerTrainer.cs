using System.Text;
using System.Text.Json.Nodes;
using Rlhf.Tokenizers.Pipeline.Patterns;

namespace Rlhf.Tokenizers;

/// <summary>Families whose form of tokenizer <see cref="ChatTokenizerTrainer"/> gives a vocabulary.</summary>
public enum ChatTokenizerKind
{
    /// <summary>Llama 3: digits by threes, BOS before every text, headers around roles.</summary>
    Llama3,

    /// <summary>Qwen 2 and later: NFC, digits one by one, no BOS, ChatML.</summary>
    Qwen2,
}

/// <summary>
/// Learns byte-level vocabularies for today's chat models: words are cut as the family cuts them, its special tokens stand at the end, and
/// tokenizer.json, tokenizer_config.json and a chat template are written as transformers opens them.
/// </summary>
public static class ChatTokenizerTrainer
{
    private const string Llama3Template =
        "{{- bos_token }}{% for message in messages %}{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
        + "{% if message['role'] == 'assistant' %}{% generation %}{{- message['content'] | trim }}{{- '<|eot_id|>' }}{% endgeneration %}"
        + "{% else %}{{- message['content'] | trim }}{{- '<|eot_id|>' }}{% endif %}{% endfor %}"
        + "{% if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}";

    private const string ChatMl =
        "{% for message in messages %}{{- '<|im_start|>' + message['role'] + '\n' }}"
        + "{% if message['role'] == 'assistant' %}{% generation %}{{- message['content'] }}{{- '<|im_end|>' }}{% endgeneration %}"
        + "{% else %}{{- message['content'] }}{{- '<|im_end|>' }}{% endif %}{{- '\n' }}{% endfor %}"
        + "{% if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{% endif %}";

    /// <param name="Pattern">What words are cut by.</param>
    /// <param name="SpecialTokens">The special tokens, in the order of their ids.</param>
    /// <param name="Bos">Stands before every text; null: nothing does.</param>
    /// <param name="Eos">Ends an answer.</param>
    /// <param name="Pad">Fills rows up.</param>
    /// <param name="ComposesCharacters">Text is brought to Unicode's form NFC first.</param>
    /// <param name="TokenizerClass">Class that transformers opens the files with.</param>
    /// <param name="Template">The chat template.</param>
    private sealed record Form(string Pattern, string[] SpecialTokens, string? Bos, string Eos, string Pad, bool ComposesCharacters,
        string TokenizerClass, string Template);

    /// <summary>Learns a vocabulary: the 256 bytes, then merges, then the family's special tokens.</summary>
    /// <param name="texts">The texts; read once.</param>
    /// <param name="kind">The family.</param>
    /// <param name="vocabSize">Tokens in all, special ones included. Fewer come out when no more pairs repeat.</param>
    /// <param name="minFrequency">How often a pair must occur to become a token; default 2.</param>
    /// <param name="modelMaxLength">Longest input of the model that the tokenizer is for; default no limit.</param>
    /// <param name="cancellationToken">Stops the work.</param>
    /// <exception cref="ArgumentException">The vocabulary size has no room for the bytes and the special tokens.</exception>
    public static PretrainedTokenizer Train(IEnumerable<string> texts, ChatTokenizerKind kind, int vocabSize, int minFrequency = 2,
        int modelMaxLength = int.MaxValue, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(texts);
        var form = Of(kind);
        var composed = form.ComposesCharacters ? texts.Select(Pipeline.Normalizers.UnicodeNormalizer.Nfc.Normalize) : texts;
        var (vocabulary, merges) = ByteLevelBpeTrainer.Learn(
            composed, ChatWords.For(form.Pattern)!, vocabSize, form.SpecialTokens, minFrequency, cancellationToken);
        var files = new SourceFiles();
        var json = Put("tokenizer.json", Json(form, vocabulary, merges));
        var configuration = Put("tokenizer_config.json", Configuration(form, modelMaxLength));
        files.Put("chat_template.jinja", Encoding.UTF8.GetBytes(form.Template));
        var tokenizer = TokenizerJson.Read("", json, configuration, form.TokenizerClass);
        tokenizer.Source = files;
        return tokenizer;

        JsonPlace Put(string name, JsonObject content)
        {
            byte[] bytes = TokenizerFiles.Serialize(content);
            files.Put(name, bytes);
            return JsonPlace.ParseObject(bytes, name);
        }
    }

    private static Form Of(ChatTokenizerKind kind) => kind switch
    {
        ChatTokenizerKind.Llama3 => new(ChatWords.Llama3Pattern,
            ["<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
            "<|begin_of_text|>", "<|eot_id|>", "<|finetune_right_pad_id|>", false, "PreTrainedTokenizerFast", Llama3Template),
        ChatTokenizerKind.Qwen2 => new(ChatWords.QwenPattern, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            null, "<|im_end|>", "<|endoftext|>", true, "Qwen2Tokenizer", ChatMl),
        _ => throw new ArgumentOutOfRangeException(nameof(kind), kind, "There is no such kind of tokenizer."),
    };

    private static JsonObject Json(Form form, Dictionary<string, int> vocabulary, List<(string Left, string Right)> merges)
    {
        var special = form.SpecialTokens.Select(t => new AddedToken(t, vocabulary[t])).ToArray();
        var bytes = new JsonObject { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["trim_offsets"] = true, ["use_regex"] = false };
        return new()
        {
            ["version"] = "1.0",
            ["truncation"] = null,
            ["padding"] = null,
            ["added_tokens"] = new JsonArray([.. special.Select(token =>
            {
                var entry = TokenizerFiles.AddedTokenJson(token);
                entry.Insert(0, "id", token.Id);
                return (JsonNode)entry;
            })]),
            ["normalizer"] = form.ComposesCharacters ? new JsonObject { ["type"] = "NFC" } : null,
            ["pre_tokenizer"] = new JsonObject
            {
                ["type"] = "Sequence",
                ["pretokenizers"] = new JsonArray(
                    new JsonObject
                    {
                        ["type"] = "Split",
                        ["pattern"] = new JsonObject { ["Regex"] = form.Pattern },
                        ["behavior"] = "Isolated",
                        ["invert"] = false,
                    },
                    bytes.DeepClone()),
            },
            ["post_processor"] = form.Bos is null ? bytes.DeepClone() : Template(form.Bos, vocabulary[form.Bos]),
            ["decoder"] = bytes,
            ["model"] = new JsonObject
            {
                ["type"] = "BPE",
                ["dropout"] = null,
                ["unk_token"] = null,
                ["continuing_subword_prefix"] = null,
                ["end_of_word_suffix"] = null,
                ["fuse_unk"] = false,
                ["byte_fallback"] = false,
                ["ignore_merges"] = form.Bos is not null,
                ["vocab"] = TokenizerJson.Vocabulary(vocabulary.Where(x => !form.SpecialTokens.Contains(x.Key)).ToDictionary()),
                ["merges"] = new JsonArray([.. merges.Select(m => (JsonNode)$"{m.Left} {m.Right}")]),
            },
        };
    }

    private static JsonObject Template(string bos, int id)
    {
        JsonObject Special() => new() { ["SpecialToken"] = new JsonObject { ["id"] = bos, ["type_id"] = 0 } };
        JsonObject Text(string name) => new() { ["Sequence"] = new JsonObject { ["id"] = name, ["type_id"] = 0 } };
        return new()
        {
            ["type"] = "TemplateProcessing",
            ["single"] = new JsonArray(Special(), Text("A")),
            ["pair"] = new JsonArray(Special(), Text("A"), Special(), Text("B")),
            ["special_tokens"] = new JsonObject
            {
                [bos] = new JsonObject { ["id"] = bos, ["ids"] = new JsonArray(id), ["tokens"] = new JsonArray(bos) },
            },
        };
    }

    private static JsonObject Configuration(Form form, int modelMaxLength)
    {
        var json = new JsonObject
        {
            ["add_prefix_space"] = false,
            ["clean_up_tokenization_spaces"] = false,
            ["eos_token"] = form.Eos,
            ["model_max_length"] = TokenizerFiles.Limit(modelMaxLength),
            ["pad_token"] = form.Pad,
            ["padding_side"] = "right",
            ["tokenizer_class"] = form.TokenizerClass,
        };
        if (form.Bos is not null)
            json["bos_token"] = form.Bos;
        return json;
    }
}
