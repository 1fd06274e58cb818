using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Data;
using Rlhf.Reporting;
using Rlhf.Runtime;
using Rlhf.Runtime.Text;
using Rlhf.Tokenizers;
using Rlhf.Tokenizers.Chat;
using Rlhf.Training.Sft;

namespace Rlhf.Cli.Verbs;

/// <summary>The sequences of a fine-tuning run.</summary>
/// <param name="Texts">Texts to learn.</param>
/// <param name="HeldOutTexts">Texts that are only evaluated.</param>
/// <param name="Train">Sequences to learn.</param>
/// <param name="HeldOut">Sequences that are only evaluated.</param>
internal sealed record SftData(int Texts, int HeldOutTexts, IReadOnlyList<SftExample> Train, IReadOnlyList<SftExample> HeldOut)
{
    /// <summary>Tokens to learn, prompts included.</summary>
    public long Tokens => Train.Sum(e => (long)e.Ids.Length);

    /// <summary>What a row is: as --format says, or as other flags or the columns of the data do.</summary>
    /// <exception cref="ConfigurationException">The columns say nothing, or more than one thing.</exception>
    public static TextFormat FormatOf(VerbContext context, SftFlags options, DatasetFlags dataset)
    {
        if (options.Format is { } given)
            return given;
        if (options.ChatTemplate is not null)
            return TextFormat.Conversations;
        if ((options.PromptColumn ?? options.CompletionColumn) is not null)
            return TextFormat.Completions;
        if (dataset.TextColumn is not null)
            return TextFormat.Text;
        var (path, split) = HubFiles.Dataset(context, "--dataset", dataset.Dataset!, dataset.Split, dataset.Subset);
        var forms = RowForms.Of(path, split);
        return forms.Forms switch
        {
            [var only] => FormatOf(only.Form),
            [] => TextFormat.Text, // whose reader says which columns there are and what to do
            _ => throw new ConfigurationException([$"{dataset.Dataset} has the columns "
                + $"{string.Join(", ", forms.Columns.Take(20).Select(column => UntrustedText.Quote(column, 40)))}, of which "
                + string.Join(" and ", forms.Forms.Select(f => $"{f.Columns} would make {FormatOf(f.Form).ToString().ToLowerInvariant()}"))
                + $"; choose by --format {string.Join(" or --format ", forms.Forms.Select(f => FormatOf(f.Form).ToString().ToLowerInvariant()))}."]),
        };
    }

    private static TextFormat FormatOf(RowForm form) => form switch
    {
        RowForm.Completion => TextFormat.Completions,
        RowForm.Conversation => TextFormat.Conversations,
        _ => TextFormat.Text,
    };

    /// <summary>Reads texts, or prompts with completions, and cuts them into sequences of at most this many tokens.</summary>
    public static SftData Load(
        VerbContext context, SftFlags options, string folder, DatasetFlags dataset, HeldOutFlags heldOut, SftConfig config,
        ITokenizer tokenizer, int endToken, int length)
    {
        if (options.Format == TextFormat.Text)
        {
            var texts = heldOut.Split((path, split, limit) => dataset.Load(context, config.Seed, path, split, limit));
            return Make(texts, rows => Sequences(rows, tokenizer, endToken, length, config));
        }
        if (options.Format == TextFormat.Conversations)
        {
            var template = ChatTemplates.Of(options.ChatTemplate, folder);
            var conversations = heldOut.Split((path, split, limit) => Conversations(context, path, split, limit, dataset, config.Seed));
            var made = Make(conversations, rows => Examples(rows, template, tokenizer, length, config));
            int left = made.Texts + made.HeldOutTexts - made.Train.Count - made.HeldOut.Count;
            if (left > 0)
                context.Screen.Line($"Left out {Numbers.Count(left, "conversation")} without a token to learn within {length:N0} tokens.");
            return made;
        }
        var pairs = heldOut.Split(
            (path, split, limit) => Completions(context, path, split, limit, options, dataset, config.Seed));
        return Make(pairs, rows => [.. Encoded(rows, pair => Example(pair, tokenizer, endToken, length, config))]);
    }

    private static SftData Make<T>(
        (IReadOnlyList<T> Train, IReadOnlyList<T> HeldOut) rows, Func<IReadOnlyList<T>, IReadOnlyList<SftExample>> sequences) =>
        new(rows.Train.Count, rows.HeldOut.Count, sequences(rows.Train), sequences(rows.HeldOut));

    private static IReadOnlyList<PromptCompletion> Completions(
        VerbContext context, string? path, string? split, int? limit, SftFlags options, DatasetFlags dataset, long seed)
    {
        var (source, chosen) = dataset.Locate(context, path, split);
        var rows = PromptCompletionDataset.Load(source, new PromptCompletionReadOptions
        {
            PromptColumn = options.PromptColumn,
            CompletionColumn = options.CompletionColumn,
            Split = chosen,
            Limit = limit ?? dataset.MaxTexts,
            ShuffleSeed = seed,
        });
        return rows.Count > 0 ? rows : throw new InvalidDataException($"{path ?? dataset.Dataset} holds no rows.");
    }

    private static IReadOnlyList<Conversation> Conversations(
        VerbContext context, string? path, string? split, int? limit, DatasetFlags dataset, long seed)
    {
        var (source, chosen) = dataset.Locate(context, path, split);
        var rows = ConversationDataset.Load(source, new() { Split = chosen, Limit = limit ?? dataset.MaxTexts, ShuffleSeed = seed });
        return rows.Count > 0 ? rows : throw new InvalidDataException($"{path ?? dataset.Dataset} holds no rows.");
    }

    private static SftExample[] Examples(
        IReadOnlyList<Conversation> rows, ChatTemplate template, ITokenizer tokenizer, int length, SftConfig config)
    {
        try
        {
            return [.. Encoded(rows, row => SftExample.FromConversation(row, template, tokenizer, length, config)).OfType<SftExample>()];
        }
        catch (AggregateException e) when (e.Flatten().InnerExceptions[0] is ChatTemplateException first)
        {
            throw new ChatTemplateException(first.Message); // several threads may have failed; one sentence is enough
        }
    }

    internal static SftExample Example(PromptCompletion pair, ITokenizer tokenizer, int endToken, int length, SftConfig config) =>
        SftExample.FromCompletion(
            tokenizer.OfPrompt(pair.Prompt), tokenizer.OfContinuation(pair.Completion), endToken, length, config.CompletionOnlyLoss);

    internal static IReadOnlyList<SftExample> Sequences(
        IReadOnlyList<Review> texts, ITokenizer tokenizer, int endToken, int length, SftConfig config)
    {
        var ids = Encoded(texts, text => tokenizer.OfPrompt(text.Text));
        return config.Packing ? SftExample.Pack(ids, endToken, length) : SftExample.Truncate(ids, endToken, length);
    }

    private static ParallelQuery<TResult> Encoded<T, TResult>(IReadOnlyList<T> items, Func<T, TResult> encode) =>
        items.AsParallel().AsOrdered().Select(encode);
}
