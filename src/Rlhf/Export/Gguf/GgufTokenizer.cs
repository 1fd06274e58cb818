using Rlhf.Runtime.Text;
using Rlhf.Tokenizers;
using Rlhf.Tokenizers.Chat;
using Rlhf.Tokenizers.Pipeline.Models;

namespace Rlhf.Export.Gguf;

/// <summary>
/// A tokenizer as GGUF has it: a list of tokens with their types, merges (byte-level BPE) or scores (SentencePiece), the name of the rule that
/// splits text into words, special tokens, the chat template.
/// </summary>
internal sealed class GgufTokenizer
{
    private const string Space = "\u2581";

    private enum TokenType
    {
        Normal = 1,
        Control = 3,
        UserDefined = 4,
        Unused = 5,
        Byte = 6,
    }

    private readonly PretrainedTokenizer tokenizer;
    private readonly JsonPlace json, model;
    private readonly string folder;
    private readonly List<KeyValuePair<string, object>> values = [];
    private readonly List<string> notes = [];
    private readonly string[] tokens;
    private readonly TokenType[] types;

    private GgufTokenizer(PretrainedTokenizer tokenizer, string folder, int vocabSize)
    {
        (this.tokenizer, this.folder) = (tokenizer, folder);
        json = TokenizerJson.Of(tokenizer) with { File = Path.Combine(folder, "tokenizer.json") };
        model = json.Required("model");
        (tokens, types) = (new string[vocabSize], new TokenType[vocabSize]);
    }

    /// <summary>Metadata under <c>tokenizer.</c>.</summary>
    public IReadOnlyList<KeyValuePair<string, object>> Values => values;

    /// <summary>What llama.cpp does otherwise: sentences for people.</summary>
    public IReadOnlyList<string> Notes => notes;

    /// <summary>Reads a tokenizer.</summary>
    /// <param name="tokenizer">The tokenizer of <paramref name="folder"/>.</param>
    /// <param name="folder">The model folder, also for messages.</param>
    /// <param name="vocabSize">Ids that the model knows; those that no token has are filled up.</param>
    /// <param name="endIds">Ids that end a text, by the model's configuration.</param>
    /// <exception cref="InvalidDataException">llama.cpp has no such tokenizer; the message says what to do.</exception>
    public static GgufTokenizer Read(ITokenizer tokenizer, string folder, int vocabSize, IReadOnlyList<int> endIds)
    {
        if (tokenizer is not PretrainedTokenizer known)
            throw new InvalidDataException($"{folder}: GGUF holds tokenizers of Hugging Face's files; a {tokenizer.GetType().Name} has no such form.");
        var read = new GgufTokenizer(known, folder, vocabSize);
        string kind = ModelReader.Type(read.model);
        if (kind == "BPE")
            read.ReadTokens();
        if (kind == "BPE" && read.Stations().Any(s => s.Text("type") == "ByteLevel"))
            read.AddByteLevel();
        else if (kind == "BPE" && read.model.Flag("byte_fallback"))
            read.AddSentencePiece();
        else
            throw read.Refuse($"a tokenizer of the kind {UntrustedText.Clean(kind)} has no form in GGUF "
                + "for a language model, which has byte-level BPE and SentencePiece's BPE with byte tokens");
        read.AddSpecialTokens(endIds);
        read.AddChatTemplate();
        return read;
    }

    private InvalidDataException Refuse(string what) => new($"{json.File}: {what}.");

    private void Set(string key, object value) => values.Add(new("tokenizer." + key, value));

    private IEnumerable<JsonPlace> Stations() => Parts("pre_tokenizer", "pretokenizers");

    private IEnumerable<JsonPlace> Normalizers() => Parts("normalizer", "normalizers");

    /// <summary>The steps of a part of the file, sequences within sequences included.</summary>
    private IEnumerable<JsonPlace> Parts(string name, string list)
    {
        return json[name] is { } part ? Flat(part) : [];

        IEnumerable<JsonPlace> Flat(JsonPlace step) =>
            step.Text("type") == "Sequence" ? step.Required(list).Items().SelectMany(Flat) : [step];
    }

    private void ReadTokens()
    {
        // Texts that no token of the vocabulary has.
        for (int id = 0; id < tokens.Length; id++)
            (tokens[id], types[id]) = ($"[PAD{id}]", TokenType.Unused);
        foreach (var (token, id) in TokenizerJson.ReadVocabulary(model.Required("vocab")))
            if (id < tokens.Length)
                (tokens[id], types[id]) = (token, TokenType.Normal);
        List<string> strips = [];
        foreach (var token in tokenizer.Settings.AddedTokens)
        {
            types[token.Id] = token.Special || LooksSpecial(token.Content) ? TokenType.Control : TokenType.UserDefined;
            tokens[token.Id] = token.Content;
            if (token.LeftStrip || token.RightStrip || token.SingleWord)
                strips.Add(token.Content);
        }
        if (strips.Count > 0)
            notes.Add($"llama.cpp takes the white space beside a token as it is, and finds tokens inside of words: "
                + $"{string.Join(", ", strips.Take(3).Select(s => UntrustedText.Quote(s)))}{(strips.Count > 3 ? $" and {strips.Count - 3} more" : "")} "
                + "strip it, or stand alone, in this tokenizer.");
    }

    /// <summary>Tokens that files do not mark as special though models use them so: llama.cpp then does not print them.</summary>
    private static bool LooksSpecial(string token) => token is "<pad>" or "<mask>" or "<2mass>" or "[@BOS@]"
        || token.StartsWith("<|", StringComparison.Ordinal) && token.EndsWith("|>", StringComparison.Ordinal)
        || token.StartsWith("<\uFF5C", StringComparison.Ordinal) && token.EndsWith("\uFF5C>", StringComparison.Ordinal)
        || token.StartsWith("<unused", StringComparison.Ordinal) && token.EndsWith('>');

    private void AddByteLevel()
    {
        foreach (var step in Normalizers())
            if (step.Text("type") == "NFC")
                notes.Add("llama.cpp does not compose characters (NFC) as this tokenizer does: text that is not in NFC, which is rare, becomes other tokens.");
            else
                throw Refuse($"the normalizer {UntrustedText.Clean(step.Text("type"))} is not part of byte-level tokenizers in llama.cpp");
        if (Stations().Any(s => s.Text("type") == "ByteLevel" && s.Flag("add_prefix_space")))
            throw Refuse("a space is put before each text (add_prefix_space), which llama.cpp does not do with byte-level tokenizers");
        foreach (string affix in (string[])["continuing_subword_prefix", "end_of_word_suffix"])
            if (model.Text(affix) is { Length: > 0 })
                throw Refuse($"model.{affix} is not part of byte-level tokenizers in llama.cpp");
        Set("ggml.model", "gpt2");
        Set("ggml.pre", GgufPreTokenizer.NameOf(tokenizer, json, [.. Stations()], model.Flag("ignore_merges")));
        AddTokens();
        Set("ggml.merges", Merges().Select(m => m.Left.Contains(' ') || m.Right.Contains(' ')
            ? throw Refuse("merges of tokens with a space in them have no form in GGUF") : $"{m.Left} {m.Right}").ToArray());
    }

    private void AddTokens()
    {
        Set("ggml.tokens", tokens);
        Set("ggml.token_type", types.Select(t => (int)t).ToArray());
    }

    private List<(string Left, string Right)> Merges()
    {
        List<(string, string)> merges = [];
        foreach (var merge in model.Required("merges").Value.EnumerateArray())
            merges.Add(merge.ValueKind == System.Text.Json.JsonValueKind.String ? TokenizerJson.SplitMerge(merge.GetString()!)!.Value
                : (merge[0].GetString()!, merge[1].GetString()!));
        return merges;
    }

    private void AddSentencePiece()
    {
        bool prefixes = ReadPrefix();
        for (int b = 0; b < 256; b++)
            if (tokenizer.TokenToId($"<0x{b:X2}>") is { } id)
                types[id] = TokenType.Byte;
            else
                throw Refuse($"the byte token <0x{b:X2}> is missing, which llama.cpp needs for text that no other token has");
        var scores = Scores();
        for (int id = 0; id < tokens.Length; id++)
            if (types[id] == TokenType.UserDefined)
                tokens[id] = tokens[id].Replace(Space, " ", StringComparison.Ordinal);
        Set("ggml.model", "llama");
        Set("ggml.pre", "default");
        AddTokens();
        Set("ggml.scores", scores);
        Set("ggml.add_space_prefix", prefixes);
    }

    /// <summary>Is a space put before a text? Spaces become U+2581 in the normalizer (Llama 2, Gemma) or before words are split.</summary>
    private bool ReadPrefix()
    {
        bool prefixes = false, replaces = false;
        foreach (var step in Normalizers())
            if (step.Text("type") == "Prepend" && step.Text("prepend") == Space)
                prefixes = true;
            else if (step.Text("type") == "Replace" && step.Required("pattern").Text("String") == " " && step.Text("content") == Space)
                replaces = true;
            else
                throw Refuse($"the normalizer {UntrustedText.Clean(step.Text("type"))} is not part of SentencePiece tokenizers in llama.cpp");
        foreach (var step in Stations())
            if (step.Text("type") == "Metaspace" && !replaces && step.Text("replacement") is null or Space)
            {
                replaces = true;
                string scheme = step.Text("prepend_scheme") ?? "always";
                prefixes = scheme != "never" && step.Flag("add_prefix_space", true);
                if (scheme == "first")
                    notes.Add("llama.cpp puts a space before the text behind every special token; this tokenizer does so at the beginning alone.");
                if (step.Flag("split", true) && tokens.Where((t, i) => types[i] == TokenType.Normal).Any(t => t.LastIndexOf(Space, StringComparison.Ordinal) > 0))
                    throw Refuse("words are split at spaces although tokens have spaces inside, which llama.cpp does not do");
            }
            // Gemma: there are no spaces any more, so that nothing is split.
            else if (!(replaces && step.Text("type") == "Split" && step.Required("pattern").Text("String") == " "))
                throw Refuse($"the pre-tokenizer {UntrustedText.Clean(step.Text("type"))} is not part of SentencePiece tokenizers in llama.cpp");
        return replaces ? prefixes : throw Refuse("spaces are no U+2581, as in SentencePiece's tokenizers");
    }

    /// <summary>
    /// Scores in the order of the merges: llama.cpp joins the two neighbors that make the token with the highest score, whichever they are.
    /// That is the same where all ways to make a token are merges, and follow one another.
    /// </summary>
    private float[] Scores()
    {
        var scores = new float[tokens.Length];
        Array.Fill(scores, 0);
        var merges = Merges();
        var known = merges.ToHashSet();
        Dictionary<string, (int First, int Last)> made = new(StringComparer.Ordinal);
        for (int rank = 0; rank < merges.Count; rank++)
        {
            string token = merges[rank].Left + merges[rank].Right;
            made[token] = made.TryGetValue(token, out var before) ? (before.First, rank) : (rank, rank);
        }
        var (last, score) = (-1, 0);
        foreach (var (token, ranks) in made.OrderBy(m => m.Value.First))
        {
            int id = tokenizer.TokenToId(token)!.Value;
            bool isAdded = types[id] is TokenType.Control or TokenType.UserDefined;
            if (ranks.First < last && !isAdded)
                throw NotSentencePiece($"merges that make {UntrustedText.Quote(token)} come between those of another token");
            if (!isAdded)
                last = ranks.Last;
            scores[id] = -++score;
        }
        for (int id = 0; id < tokens.Length; id++)
            for (int at = 1; types[id] == TokenType.Normal && at < tokens[id].Length; at++)
                if (IsToken(tokens[id][..at]) && IsToken(tokens[id][at..]) && !known.Contains((tokens[id][..at], tokens[id][at..])))
                    throw NotSentencePiece($"{UntrustedText.Quote(tokens[id])} is not made of {UntrustedText.Quote(tokens[id][..at])} and "
                        + $"{UntrustedText.Quote(tokens[id][at..])}, which are tokens");
        return scores;

        bool IsToken(string text) => tokenizer.TokenToId(text) is { } id && types[id] == TokenType.Normal;
    }

    private InvalidDataException NotSentencePiece(string why) => Refuse(
        $"the merges are not those of a SentencePiece vocabulary, the only kind with byte tokens that llama.cpp reads ({why}); "
        + "train a byte-level tokenizer for a model that is to become GGUF");

    private void AddSpecialTokens(IReadOnlyList<int> endIds)
    {
        var template = tokenizer.Template;
        // What is put around each text is llama.cpp's begin and end token, whatever the files call it.
        int? begin = template.Before is [var first] ? first : tokenizer.BosTokenId;
        int? own = template.After is [var last] ? last : tokenizer.EosTokenId;
        int? end = own is { } known && (endIds.Count == 0 || endIds.Contains(known)) ? known : endIds.Count > 0 ? endIds[0] : null;
        if (template.Before.Count > 1 || template.After.Count > 1 || template.After is [var closing] && closing != end)
            throw Refuse("the tokens around a text (post_processor) are more than a begin token and a token that ends texts, which llama.cpp cannot add");
        SetId("bos", begin);
        SetId("eos", end);
        SetId("unknown", tokenizer.UnkTokenId);
        SetId("padding", tokenizer.PadTokenId);
        int[] further = [.. endIds.Where(id => id != end && id < tokens.Length).Distinct()];
        SetId("eot", further.Length > 0 ? further[0] : null);
        SetId("eom", further.Length > 1 ? further[1] : null);
        if (further.Length > 2)
            notes.Add($"GGUF has room for three tokens that end a text; {string.Join(", ", further.Skip(2).Select(id => UntrustedText.Quote(tokens[id])))} "
                + "end it as well and are left out.");

        Set("ggml.add_bos_token", template.Before.Count > 0);
        Set("ggml.add_eos_token", template.After.Count > 0);

        void SetId(string role, int? id)
        {
            if (id is { } given && given < tokens.Length)
                Set($"ggml.{role}_token_id", (uint)given);
        }
    }

    private void AddChatTemplate()
    {
        if (ChatTemplate.TryFromFolder(folder) is not { } chat)
            return;
        foreach (var (name, source) in chat.Sources)
            Set(name == "default" ? "chat_template" : $"chat_template.{name}", source);
        if (chat.Sources.Select(s => s.Name).Where(n => n != "default").ToArray() is { Length: > 0 } names)
            Set("chat_templates", names);
    }
}
