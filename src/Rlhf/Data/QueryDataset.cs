using Rlhf.Data.Batching;
using Rlhf.Data.Files;
using Rlhf.Runtime;
using Rlhf.Tokenizers;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Data;

/// <summary>The beginning of a text that the policy is to continue.</summary>
/// <param name="TokenIds">Its tokens, at least one.</param>
/// <param name="Text">Those tokens decoded, without what the tokenizer's template put before them (BOS): what a reward function sees before
/// the response.</param>
public sealed record Query(int[] TokenIds, string Text)
{
    private static readonly IReadOnlyDictionary<string, object?> None = new Dictionary<string, object?>();

    /// <summary>The other columns of its row, by name, which a reward function may compare with; none by default.</summary>
    public IReadOnlyDictionary<string, object?> Fields { get; init; } = None;

    /// <summary>The conversation that it was rendered from; null where it is plain text.</summary>
    public IReadOnlyList<ChatMessage>? Messages { get; init; }
}

/// <summary>Which rows and columns <see cref="QueryDataset.Load"/> reads.</summary>
public sealed record QueryReadOptions : DataReadOptions
{
    /// <summary>Column of the query; null: <c>query</c>, else <c>prompt</c>.</summary>
    public string? QueryColumn { get; init; }

    /// <summary>Writes prompts that are lists of messages as text; null, the default, refuses them.</summary>
    public ChatTemplate? Template { get; init; }

    /// <summary>Longest query in tokens; what is longer is cut, unless it is a list of messages. Null: whole rows.</summary>
    public int? MaxTokens { get; init; }

    private protected override IEnumerable<string> Problems() =>
        MaxTokens < 1 ? [.. base.Problems(), $"MaxTokens is {MaxTokens}; it must be positive, or null."] : base.Problems();
}

/// <summary>Makes the queries of a PPO run: from reviews as TRL's lesson does, or from a file of ready queries.</summary>
public static class QueryDataset
{
    /// <summary>Reviews must have more characters than this in the lesson.</summary>
    public const int LessonLongerThan = 200;

    /// <summary>Bounds of the lesson's query length: 2 to 7 tokens.</summary>
    public static LengthSampler LessonLengths { get; } = new(2, 8);

    /// <summary>
    /// The lesson's queries: reviews of more than 200 characters (unless <paramref name="options"/> say otherwise), tokenized
    /// and cut to a length drawn for each.
    /// </summary>
    /// <inheritdoc cref="ReviewDataset.Load"/>
    /// <param name="path">A source of reviews; see <see cref="ReviewDataset"/>.</param>
    /// <param name="tokenizer">The policy's tokenizer.</param>
    /// <param name="seed">The run's seed; equal seeds draw equal lengths.</param>
    /// <param name="lengths">Query lengths in tokens; null: <see cref="LessonLengths"/>.</param>
    /// <param name="options">Which reviews; null: those of more than <see cref="LessonLongerThan"/> characters.</param>
    public static IReadOnlyList<Query> FromReviews(
        string path, ITokenizer tokenizer, long seed, LengthSampler? lengths = null, ReviewReadOptions? options = null) =>
        FromTexts(
            [.. ReviewDataset.Stream(path, options ?? new() { LongerThan = LessonLongerThan }).Select(r => r.Text)],
            tokenizer, lengths ?? LessonLengths, seed);

    /// <summary>
    /// Each text tokenized and cut to a length drawn for it: one query per text, in order; a text without tokens gives none.
    /// Texts are tokenized in parallel, which does not change the result.
    /// </summary>
    /// <param name="texts">The texts; their number and order decide which length each gets.</param>
    /// <param name="tokenizer">The policy's tokenizer.</param>
    /// <param name="lengths">Query lengths in tokens; lengths of 0 are drawn as well when its lower bound is 0, and give no
    /// query.</param>
    /// <param name="seed">The run's seed.</param>
    public static IReadOnlyList<Query> FromTexts(
        IReadOnlyList<string> texts, ITokenizer tokenizer, LengthSampler lengths, long seed)
    {
        var drawn = lengths.Sample(new RandomStream(seed, "data/query-length"), texts.Count);
        var queries = new Query?[texts.Count];
        Parallel.For(0, texts.Count, i => queries[i] = Cut(texts[i], tokenizer, drawn[i]));
        return [.. queries.OfType<Query>()];
    }

    /// <summary>
    /// Ready queries: JSONL rows <c>{"query": "..."}</c> or <c>{"prompt": "..."}</c>, lines of a text file, or a column of a CSV or parquet
    /// file. A prompt, or <c>messages</c>, may be a list of messages: it becomes what the chat template writes, up to where the assistant
    /// begins to answer; an answer at its end is left out. A query keeps the other columns of its row.
    /// </summary>
    /// <inheritdoc cref="ReviewDataset.Load"/>
    public static IReadOnlyList<Query> Load(string path, ITokenizer tokenizer, QueryReadOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        options ??= new QueryReadOptions();
        options.Validate();
        TableColumn[] columns =
        [
            TableColumn.Of("query", options.QueryColumn, required: true, "query", "prompt", "messages") with
            { Setting = nameof(options.QueryColumn), TakesLists = true },
            TableColumn.Of("tools", null, required: false, "tools") with { TakesLists = true },
        ];
        var rows = TableFile.Read(DataFiles.Find(path, options.Split), columns, options.MaxTextLength, OtherColumns.Readable);
        return [.. options.Take(rows).Select(row => (MessageList.Is(row.Cells[0]) ? Rendered(row, tokenizer, options.Template)
            : Cut(row.Text(0, "query", options.MaxTextLength), tokenizer, options.MaxTokens)
                ?? throw row.Error("the query is empty; write its text or remove the row.")) with
            { Fields = Fields(row) })];
    }

    private static Dictionary<string, object?> Fields(TableRow row) => (row.Others ?? []).GroupBy(x => x.Key).ToDictionary(x => x.Key, x => x.Last().Value switch
    {
        System.Text.Json.Nodes.JsonValue value when value.TryGetValue(out string? text) => text,
        System.Text.Json.Nodes.JsonValue value when value.TryGetValue(out bool flag) => flag,
        System.Text.Json.Nodes.JsonValue value when value.TryGetValue(out long whole) => whole,
        System.Text.Json.Nodes.JsonValue value when value.TryGetValue(out double number) => number,
        var other => (object?)other,
    });

    private static Query Rendered(TableRow row, ITokenizer tokenizer, ChatTemplate? template)
    {
        var messages = MessageList.Of(row, "prompt", row.Cells[0]!);
        while (messages.Count > 1 && messages[^1].Role == "assistant")
            messages.RemoveAt(messages.Count - 1);
        if (template is null)
            throw row.Error("the prompt is a list of messages, and the model has no chat template to write it with; name one by --chat-template FILE, "
                + "or take the built-in ChatML by --chat-template chatml.");
        try
        {
            var tools = ConversationDataset.ToolsOf(row, row.Cells[1]);
            int[] ids = tokenizer.OfRendered(template.Render(messages, new() { AddGenerationPrompt = true, Tools = tools }));
            return ids.Length > 0 ? new(ids, tokenizer.TextOfPrompt(ids)) { Messages = messages }
                : throw row.Error("the chat template writes nothing for the prompt.");
        }
        catch (ChatTemplateException e)
        {
            throw row.Error(e.Message);
        }
    }

    private static Query? Cut(string text, ITokenizer tokenizer, int? maxTokens)
    {
        if (maxTokens == 0)
            return null;
        var ids = maxTokens is { } count ? FirstTokens(text, tokenizer, count) : tokenizer.OfPrompt(text);
        // BOS alone is no query.
        return ids.Length == PromptTokens.LengthOfBeginning(tokenizer, ids) ? null : new Query(ids, tokenizer.TextOfPrompt(ids));
    }

    /// <summary>
    /// The first tokens of a text, BOS included and at least one of the text itself. Only its beginning is tokenized where that is enough.
    /// </summary>
    private static int[] FirstTokens(string text, ITokenizer tokenizer, int count)
    {
        count = Math.Max(count, tokenizer.Template.Before.Count + 1);
        long probe = 32L * count + 64;
        if (tokenizer.SplitsAtSpaces && probe < text.Length
            && WordBoundary(text, (int)probe) is > 0 and int end
            && tokenizer.OfPrompt(text[..end]) is var beginning && beginning.Length > count)
            return beginning[..count];
        var ids = tokenizer.OfPrompt(text);
        return ids.Length > count ? ids[..count] : ids;
    }

    /// <summary>
    /// The last place before <paramref name="start"/> where a single space stands between two ASCII letters, or -1.
    /// </summary>
    private static int WordBoundary(string text, int start)
    {
        for (int i = start; i > 0; i--)
            if (text[i] == ' ' && char.IsAsciiLetter(text[i - 1]) && char.IsAsciiLetter(text[i + 1]))
                return i;
        return -1;
    }
}
