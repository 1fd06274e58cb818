using System.ComponentModel;
using Rlhf.Cli.Models;
using Rlhf.Cli.Settings;
using Rlhf.Data;
using Rlhf.Data.Batching;
using Rlhf.Runtime;
using Rlhf.Tokenizers;

namespace Rlhf.Cli.Flags;

/// <summary>Lengths of queries and responses, and how many queries are held out.</summary>
internal sealed record QueryFlags
{
    [Description("Shortest query, in tokens.")]
    public int QueryMin { get; init; } = 2;

    [Description("Queries are shorter than this.")]
    public int QueryMax { get; init; } = 8;

    [Description("Shortest response, in tokens, unless it ends by itself.")]
    public int ResponseMin { get; init; } = 4;

    [Description("Responses are shorter than this.")]
    public int ResponseMax { get; init; } = 16;

    [Description("Held-out queries that are answered before and after training.")]
    public int EvalQueries { get; init; } = 200;

    [Description("Split of the data that they come from; default: they are taken from the queries and not trained on.")]
    [ValueName("NAME")]
    public string? EvalSplit { get; init; }

    [Description("Baseline of the comparison: the model before training answers each held-out query so often, and the reward keeps the best; 0: none.")]
    [MayChange]
    public int EvalBestOf { get; init; } = 8;

    public IEnumerable<string> Validate()
    {
        if (QueryMin < 1) yield return $"QueryMin is {QueryMin}; it must be at least 1.";
        if (QueryMax <= QueryMin)
            yield return $"QueryMax is {QueryMax}; lengths are drawn below it, so it must be above QueryMin {QueryMin}.";
        if (ResponseMin < 1) yield return $"ResponseMin is {ResponseMin}; it must be at least 1.";
        if (ResponseMax <= ResponseMin)
            yield return $"ResponseMax is {ResponseMax}; lengths are drawn below it, so it must be above "
                + $"ResponseMin {ResponseMin}.";
        if (EvalQueries < 1) yield return $"EvalQueries is {EvalQueries}; it must be at least 1.";
        if (EvalBestOf is < 0 or 1) yield return $"EvalBestOf is {EvalBestOf}; it must be 0, or at least 2.";
    }

    /// <summary>Draws query lengths.</summary>
    public LengthSampler QueryLengths => new(QueryMin, QueryMax);

    /// <summary>Draws response lengths.</summary>
    public LengthSampler ResponseLengths => new(ResponseMin, ResponseMax);

    /// <summary>Response lengths of the held-out queries, the same for every policy.</summary>
    public int[] EvalResponseLengths(int count, long seed) =>
        ResponseLengths.Sample(new RandomStream(seed, "evaluation/response-length"), count);

    /// <summary>Where queries come from when no data set is named.</summary>
    /// <exception cref="ConfigurationException">Nothing ships beside the program.</exception>
    public static string Source(DatasetFlags dataset) => dataset.Dataset ?? ModelFolders.Shipped(ModelFolders.ShippedQueries)
        ?? throw new ConfigurationException(
            [$"--dataset is not given, and models/{ModelFolders.ShippedQueries} was not found beside the program or above."]);

    /// <summary>The data options; reviews are filtered as in the lesson unless the user says otherwise.</summary>
    public static DatasetFlags WithLessonFilter(BoundSettings settings)
    {
        var dataset = settings.Get<DatasetFlags>();
        // The queries that ship are the same queries when they are named.
        if (dataset.Dataset is { } named && ModelFolders.Shipped(ModelFolders.ShippedQueries) is { } shipped
            && Path.GetFullPath(named) == Path.GetFullPath(shipped)
            && dataset with { Dataset = null, MaxTexts = null } == new DatasetFlags())
            dataset = dataset with { Dataset = null };
        return dataset.Dataset is null || settings.IsGiven(nameof(DatasetFlags.LongerThan))
            ? dataset : dataset with { LongerThan = QueryDataset.LessonLongerThan };
    }

    /// <summary>Queries in an order drawn from the seed: texts cut to lengths drawn for each.</summary>
    public IReadOnlyList<Query> Load(VerbContext context, DatasetFlags dataset, ITokenizer tokenizer, long seed)
    {
        var texts = dataset.Dataset is null
            ? QueryDataset.Load(Source(dataset), tokenizer, new() { ShuffleSeed = seed, Limit = dataset.MaxTexts })
                .Select(q => q.Text)
            : dataset.Load(context, seed).Select(r => r.Text);
        return QueryDataset.FromTexts([.. texts], tokenizer, QueryLengths, seed);
    }
}
