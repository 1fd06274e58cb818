namespace Rlhf.Models.Onnx;

/// <summary>
/// The rows of tokens that a graph reads: <c>input_ids</c> and <c>attention_mask</c>, and, of a language model, the keys and values of the
/// tokens before. Padding stands anywhere and means nothing, as if each row had been given without it: positions count the tokens that the
/// mask marks.
/// </summary>
/// <remarks>B rows, T tokens that are given, S tokens in all: T, and those whose keys are given.</remarks>
internal sealed class OnnxRows
{
    private readonly OnnxGraph graph;
    private readonly (int Heads, int Size)? kept;
    private readonly OnnxValue valid, counts, keyPositions;
    private readonly Dictionary<int, OnnxValue> masks = [];
    private OnnxValue? first;

    /// <summary>Adds the inputs to a graph.</summary>
    /// <param name="graph">The graph.</param>
    /// <param name="maxPositions">Longest row in tokens.</param>
    /// <param name="kept">Heads of keys and values and their size, where they are inputs and outputs; null: the rows are whole.</param>
    public OnnxRows(OnnxGraph graph, int maxPositions, (int Heads, int Size)? kept = null)
    {
        (this.graph, this.kept, MaxPositions) = (graph, kept, maxPositions);
        Ids = graph.Input("input_ids", OnnxType.Int64, "batch", "length");
        var mask = graph.Input("attention_mask", OnnxType.Int64, "batch", kept is null ? "length" : "total_length");
        using var part = graph.In("rows");
        valid = graph.Cast(mask, OnnxType.Bool);
        counts = graph.Cast(valid, OnnxType.Int64);
        var counted = graph.Subtract(graph.Node("CumSum", [counts, graph.Long(1)]), graph.Long(1));
        keyPositions = graph.Node("Max", [counted, graph.Long(0)]);
        Positions = kept is null ? keyPositions
            : graph.Node("Slice", [keyPositions, graph.Node("Neg", [graph.Sizes(Ids, 1, 2)]), graph.Longs(long.MaxValue), graph.Longs(1)]);
    }

    /// <summary>Token ids [B, T], int64.</summary>
    public OnnxValue Ids { get; }

    /// <summary>Position of each token among those of its row that are not padding [B, T], int64, from 0.</summary>
    public OnnxValue Positions { get; }

    /// <summary>Longest row in tokens that the graph computes as the model does.</summary>
    public int MaxPositions { get; private set; }

    /// <summary>Are keys and values given and handed back?</summary>
    public bool KeepsKeys => kept is not null;

    /// <summary>The tokens that are not padding [B, T], bool; of whole rows.</summary>
    public OnnxValue Valid => valid;

    /// <summary>Every token sees all of its row: [B, 1, 1, S], bool.</summary>
    public OnnxValue SeenByAll => masks.TryGetValue(-1, out var known) ? known : masks[-1] = graph.Unsqueeze(valid, 1, 2);

    /// <summary>Each row's first token [B], int64; of whole rows.</summary>
    public OnnxValue First => first ??= graph.Node("ArgMax", [graph.Cast(counts, OnnxType.Int32)],
        new OnnxAttribute("axis", 1L), new OnnxAttribute("keepdims", 0L));

    /// <summary>Tokens of the longest row: a number.</summary>
    public OnnxValue Longest => graph.Add(graph.Node("ReduceMax", [keyPositions], new OnnxAttribute("keepdims", 0L)), graph.Long(1));

    /// <summary>Says that longer rows are not computed as the model does.</summary>
    public void LimitTo(int positions) => MaxPositions = Math.Min(MaxPositions, positions);

    /// <summary>What causal attention sees: [B, 1, T, S], bool.</summary>
    /// <param name="window">Tokens that a token sees, itself included; null: all before it.</param>
    public OnnxValue Seen(int? window)
    {
        if (masks.TryGetValue(window ?? 0, out var known))
            return known;
        using var part = graph.In(window is null ? "seen" : $"seen_in_{window}");
        OnnxValue query = graph.Unsqueeze(Positions, 1, 3), key = graph.Unsqueeze(keyPositions, 1, 2);
        var seen = graph.And(SeenByAll, graph.Node("LessOrEqual", [key, query]));
        if (window is { } width)
            seen = graph.And(seen, graph.Node("Less", [graph.Subtract(query, key), graph.Long(width)]));
        return masks[window ?? 0] = seen;
    }

    /// <summary>
    /// Puts a layer's keys and values [B, K, T, head size] behind those of the tokens before, and hands them back as outputs; those of whole
    /// rows stay as they are.
    /// </summary>
    /// <returns>[B, K, S, head size].</returns>
    public (OnnxValue Keys, OnnxValue Values) Keep(int layer, OnnxValue keys, OnnxValue values) =>
        (Behind("key", layer, keys), Behind("value", layer, values));

    /// <summary>One token of each row: [B, T, D] at [B] to [B, D].</summary>
    public OnnxValue Pick(OnnxValue x, OnnxValue at) => graph.Node("GatherND", [x, graph.Unsqueeze(at, 1)], new OnnxAttribute("batch_dims", 1L));

    /// <summary>Each row's last token that is not padding, or its first where all are [B]; of whole rows.</summary>
    /// <param name="padding">The padding token: tokens of this id are padding whatever the mask says; null: the mask alone says it.</param>
    public OnnxValue Last(int? padding)
    {
        var read = padding is { } id ? graph.And(valid, graph.Node("Not", [graph.Node("Equal", [Ids, graph.Long(id)])])) : valid;
        var marks = graph.Cast(read, OnnxType.Int32);
        var last = graph.Node("ArgMax", [marks],
            new OnnxAttribute("axis", 1L), new OnnxAttribute("keepdims", 0L), new OnnxAttribute("select_last_index", 1L));
        var any = graph.Node("ReduceMax", [marks, graph.Longs(1)], new OnnxAttribute("keepdims", 0L));
        return graph.Where(graph.Cast(any, OnnxType.Bool), last, First);
    }

    private OnnxValue Behind(string kind, int layer, OnnxValue x)
    {
        if (kept is not var (heads, size))
            return x;
        var past = graph.Input($"past_key_values.{layer}.{kind}", OnnxType.Float, "batch", (long)heads, "past_length", (long)size);
        var all = graph.Concat(2, past, x);
        graph.Output($"present.{layer}.{kind}", all, OnnxType.Float, "batch", (long)heads, "total_length", (long)size);
        return all;
    }
}
