using System.ComponentModel;
using Rlhf.Cli.Models;
using Rlhf.Cli.Settings;
using Rlhf.Data;
using Rlhf.Reporting;
using Rlhf.Runtime;
using Rlhf.Tokenizers;

namespace Rlhf.Cli.Flags;

/// <summary>Whole prompts instead of texts to cut.</summary>
internal sealed record PromptFlags
{
    [Description("Whole prompts instead of texts to cut: one per line, or JSONL, CSV or parquet with a column prompt (a text or messages) or query.")]
    [ValueName("PATH")]
    [DataInput(OfTheHub = false)]
    public string? Prompts { get; init; }

    [Description("Chat template for prompts that are messages: a file with Jinja, or chatml, the built-in one; default: the model's own.")]
    [ValueName("FILE|chatml")]
    [ChatTemplateInput]
    public string? ChatTemplate { get; init; }

    /// <summary>Settings that have no meaning beside what is given.</summary>
    public static IEnumerable<string> Problems(BoundSettings settings)
    {
        var options = settings.Get<PromptFlags>();
        var dataset = settings.Get<DatasetFlags>();
        if (dataset.Dataset is null && options.Prompts is null && settings.Get<QueryFlags>().EvalSplit is not null)
            return ["--eval-split belongs to --dataset or --prompts, and neither is given."];
        if (options.Prompts is null)
            return options.ChatTemplate is null ? [] : ["--chat-template is for --prompts, which is not given."];
        if (dataset.Dataset is not null)
            return ["Queries come from --prompts or are cut from --dataset; give one of the two."];
        string[] cutting = [nameof(DatasetFlags.TextColumn), nameof(DatasetFlags.LongerThan), nameof(DatasetFlags.LineBreaks), nameof(DatasetFlags.Part),
            nameof(QueryFlags.QueryMin), nameof(QueryFlags.QueryMax)];
        return cutting.Where(settings.IsChanged).Select(name => settings.NameFlags($"{name} is about texts to cut; prompts from --prompts are taken as they are."));
    }

    /// <summary>Queries to train on and queries to evaluate on, which are never trained on.</summary>
    /// <param name="context">What the verb runs with.</param>
    /// <param name="dataset">The texts to cut where no prompts are given.</param>
    /// <param name="source">What they come from, for messages.</param>
    /// <param name="tokenizer">The policy's tokenizer.</param>
    /// <param name="policyFolder">The policy.</param>
    /// <param name="longest">Most tokens of a prompt.</param>
    /// <param name="needed">Queries of a step.</param>
    /// <param name="seed">The run's seed.</param>
    public static (Query[] Train, Query[] HeldOut) Load(VerbContext context, DatasetFlags dataset, string source, ITokenizer tokenizer, string policyFolder,
        int longest, int needed, long seed)
    {
        var (lengths, options) = (context.Settings.Get<QueryFlags>(), context.Settings.Get<PromptFlags>());
        IReadOnlyList<Query> Load(DatasetFlags data) => options.Prompts is { } path
            ? options.Whole(context, path, data, tokenizer, policyFolder, longest, seed) : lengths.Load(context, data, tokenizer, seed);
        var queries = Load(dataset);
        var others = lengths.EvalSplit is { } split ? Load(dataset with { Split = split }) : queries;
        int taken = lengths.EvalSplit is null ? lengths.EvalQueries : 0;
        if (queries.Count < taken + needed || others.Count < lengths.EvalQueries)
            throw new ConfigurationException(
                [$"{source} gives {queries.Count:N0} queries, too few for {lengths.EvalQueries} held-out ones and a batch of {needed}; "
                + "lower --eval-queries or --batch-size, or name more data."]);
        return ([.. queries.Skip(taken)], [.. others.Take(lengths.EvalQueries)]);
    }

    /// <summary>Ready prompts in an order drawn from the seed; those that leave no room for the longest response are left out.</summary>
    public IReadOnlyList<Query> Whole(
        VerbContext context, string path, DatasetFlags data, ITokenizer tokenizer, string policyFolder, int longest, long seed)
    {
        var all = QueryDataset.Load(path, tokenizer, new()
        {
            Split = data.Split,
            Limit = data.MaxTexts,
            ShuffleSeed = seed,
            Template = ChatTemplates.TryOf(ChatTemplate, policyFolder),
        });
        Query[] fitting = [.. all.Where(q => q.TokenIds.Length <= longest)];
        if (fitting.Length < all.Count)
            context.Screen.Line($"Left out {Numbers.Count(all.Count - fitting.Length, "prompt")} of more than {longest:N0} tokens, which leave no room "
                + "for the longest response; lower that or shorten them.");
        return fitting;
    }
}
