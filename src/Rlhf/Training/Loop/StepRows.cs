using Rlhf.Models;
using static TorchSharp.torch;

namespace Rlhf.Training.Loop;

/// <summary>
/// The rows of a step, checked: query + response of each, and where the response tokens of all rows lie one after another.
/// </summary>
internal sealed class StepRows
{
    private readonly int[][] ids;
    private readonly int[] queryLengths;
    private readonly bool positionsCountPadding;

    /// <param name="rollout">The rows.</param>
    /// <param name="responseMasks">Per response token, 1 where it counts; null: all count.</param>
    /// <param name="batchSize">Rows of a step.</param>
    /// <param name="maxPositions">Most tokens that the model reads.</param>
    /// <param name="positionsCountPadding">Rows stand as if they were padded on the left (TRL's parity alone).</param>
    /// <exception cref="ArgumentException">The rows are not as many, or one of them cannot be used.</exception>
    public StepRows(Rollout rollout, IReadOnlyList<int[]>? responseMasks, int batchSize, int maxPositions, bool positionsCountPadding = false)
    {
        this.positionsCountPadding = positionsCountPadding;
        var (queries, responses) = (rollout.Queries, rollout.Responses);
        if (queries.Count != batchSize || responses.Count != batchSize)
            throw new ArgumentException($"A step takes BatchSize = {batchSize} rows, but there are {queries.Count} " +
                $"queries and {responses.Count} responses.");
        Offsets = new int[queries.Count + 1];
        for (int b = 0; b < queries.Count; b++)
        {
            if (queries[b].Length == 0 || responses[b].Length == 0)
                throw new ArgumentException($"Row {b} has an empty {(queries[b].Length == 0 ? "query" : "response")}; leave " +
                    "such rows out.");
            if (queries[b].Length + responses[b].Length > maxPositions)
                throw new ArgumentException($"Row {b} has {queries[b].Length + responses[b].Length} tokens, but the model " +
                    $"reads at most {maxPositions}.");
            Offsets[b + 1] = Offsets[b] + responses[b].Length;
        }
        ids = queries.Zip(responses, (q, r) => (int[])[.. q, .. r]).ToArray();
        queryLengths = queries.Select(q => q.Length).ToArray();
        Mask = new float[TokenCount];
        Mask.AsSpan().Fill(1);
        if (responseMasks is not null)
            CopyMasks(responseMasks, responses);
        RequireSameLengths(rollout.Logprobs, responses, "logprobs");
        RequireSameLengths(rollout.Values, responses, "values");
    }

    /// <summary>B.</summary>
    public int Count => ids.Length;

    /// <summary>Start of each row's response tokens among all R, and R at the end.</summary>
    public int[] Offsets { get; }

    /// <summary>R.</summary>
    public int TokenCount => Offsets[^1];

    /// <summary>1 on the response tokens that count [R].</summary>
    public float[] Mask { get; }

    public int QueryLength(int row) => queryLengths[row];

    /// <summary>The row that one of the R response tokens belongs to.</summary>
    public int RowOf(int token) => Array.BinarySearch(Offsets, token) is var found && found >= 0 ? found : ~found - 1;

    /// <summary>The rows that something is learnt from: all but those that were left out.</summary>
    public int[] Kept => [.. Enumerable.Range(0, Count).Where(b => Mask.AsSpan(Offsets[b]..Offsets[b + 1]).ContainsAnyExcept(0f))];

    /// <summary>Nothing of this row is learnt from.</summary>
    public void LeaveOut(int row) => Mask.AsSpan(Offsets[row]..Offsets[row + 1]).Clear();

    /// <summary>The scores, one per row and finite.</summary>
    /// <exception cref="ArgumentException">They are not.</exception>
    public IReadOnlyList<float> CheckScores(IReadOnlyList<float> scores, long step)
    {
        if (scores.Count != Count)
            throw new ArgumentException($"There are {Count} responses but {scores.Count} scores.");
        for (int b = 0; b < scores.Count; b++)
            if (!float.IsFinite(scores[b]))
                throw new ArgumentException($"The score of row {b} at step {step} is {scores[b]}; a reward function must " +
                    "return finite numbers.");
        return scores;
    }

    /// <summary>Some of the rows as one packed batch.</summary>
    public SelectedRows Select(int[] rows, Device device)
    {
        int longest = ids.Max(r => r.Length);
        return Selected(rows, ScoredRows.Of(TokenRows(rows), device, positionsCountPadding ? rows.Select(b => longest - ids[b].Length).ToArray() : null));
    }

    /// <summary>Some of the rows as one packed batch, in which a query that several have is there once, if all models read it so.</summary>
    public SelectedRows Select(int[] rows, params IReadOnlyList<CausalLM> models) =>
        Selected(rows, ScoredRows.Of(TokenRows(rows), [.. rows.Select(b => queryLengths[b])], models));

    /// <summary>Tokens of a row, query and response.</summary>
    public int Length(int row) => ids[row].Length;

    /// <summary>A response's tokens that count.</summary>
    public float CountedTokens(int row)
    {
        float count = 0;
        foreach (float m in Mask.AsSpan(Offsets[row]..Offsets[row + 1]))
            count += m;
        return count;
    }

    private TokenRow[] TokenRows(int[] rows) => [.. rows.Select(b => TokenRow.From(ids[b], queryLengths[b]))];

    private SelectedRows Selected(int[] rows, ScoredRows scored) =>
        new(scored, [.. rows.SelectMany(b => Enumerable.Range(Offsets[b], Offsets[b + 1] - Offsets[b]))]);

    private void CopyMasks(IReadOnlyList<int[]> masks, IReadOnlyList<int[]> responses)
    {
        if (masks.Count != responses.Count)
            throw new ArgumentException($"There are {responses.Count} responses but {masks.Count} response masks.");
        for (int b = 0; b < masks.Count; b++)
        {
            if (masks[b].Length != responses[b].Length)
                throw new ArgumentException($"The response mask of row {b} has {masks[b].Length} entries for " +
                    $"{responses[b].Length} tokens.");
            if (Array.TrueForAll(masks[b], m => m == 0))
                throw new ArgumentException($"The response mask of row {b} leaves out every token; leave out the row instead.");
            for (int t = 0; t < masks[b].Length; t++)
                Mask[Offsets[b] + t] = masks[b][t] != 0 ? 1 : 0;
        }
    }

    private static void RequireSameLengths(IReadOnlyList<float[]>? perToken, IReadOnlyList<int[]> responses, string what)
    {
        if (perToken is null)
            return;
        for (int b = 0; b < responses.Count; b++)
            if (perToken.Count != responses.Count || perToken[b].Length != responses[b].Length)
                throw new ArgumentException($"The rollout's {what} do not have one entry per response token (row {b}).");
    }
}

/// <summary>Rows of a step as one packed batch; r of the step's R response tokens are among them.</summary>
internal sealed class SelectedRows(ScoredRows rows, int[] tokens) : IDisposable
{
    /// <summary>Query + response of each row.</summary>
    public PackedBatch Batch => rows.Batch;

    /// <summary>The response tokens [r].</summary>
    public Tensor Targets => rows.Targets;

    /// <summary>Hidden states [r, D] at the positions that predict the response tokens.</summary>
    public Tensor ResponseHidden(Tensor hidden) => rows.Hidden(hidden);

    /// <summary>Which of the step's R response tokens they are [r].</summary>
    public IReadOnlyList<int> Tokens => tokens;

    /// <summary>Sums [b] of a per-token tensor [r] over each of the rows.</summary>
    public Tensor SumPerRow(Tensor perToken) => rows.SumPerRow(perToken);

    /// <summary>Each row's value [b] at all of its tokens [r].</summary>
    public Tensor Spread(Tensor perRow) => rows.Spread(perRow);

    /// <summary>These rows' part [r] of a per-token array [R].</summary>
    public float[] Gather(float[] perToken) => Array.ConvertAll(tokens, t => perToken[t]);

    /// <summary>Writes [r] back to where it belongs in a per-token array [R].</summary>
    public void Scatter(Tensor values, float[] perToken)
    {
        using var host = values.cpu();
        var data = host.data<float>();
        for (int i = 0; i < tokens.Length; i++)
            perToken[tokens[i]] = data[i];
    }

    public Tensor ToDevice(float[] values) => tensor(values, float32, Batch.Device);

    public void Dispose() => rows.Dispose();
}
