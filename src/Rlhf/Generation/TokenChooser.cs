using Rlhf.Runtime.Operators;
using static TorchSharp.torch;

namespace Rlhf.Generation;

/// <summary>Chooses the next token of every row from its logits, on the host; rows are independent of each other.</summary>
/// <remarks>B rows, V vocabulary.</remarks>
internal sealed class TokenChooser(GenerationConfig config, int[] endTokens)
{
    private const int NotFinite = -1, NothingLeft = -2;
    private const int ParallelFrom = 1 << 18;
    private readonly bool processes = !(config with { DoSample = true }).IsUnwarped;

    /// <summary>
    /// The next token of each row and its logprob under the logits as they are given. To be called in a dispose scope.
    /// </summary>
    /// <param name="logits">[B, V] on any device, of any floating point type.</param>
    /// <param name="rows">The B rows, in the logits' order.</param>
    /// <exception cref="NonFiniteLogitsException">A row's logits hold NaN or infinity.</exception>
    /// <exception cref="InvalidOperationException">The settings forbid every token.</exception>
    public unsafe (int[] Tokens, float[] Logprobs) Choose(Tensor logits, IReadOnlyList<ResponseRow> rows)
    {
        var tokens = new int[rows.Count];
        var logprobs = new float[rows.Count];
        var host = logits.to(float32).cpu().contiguous();
        int vocabSize = (int)host.shape[1];
        // Memory of the tensor, which does not move; a span could not enter the parallel loop.
        var start = (float*)TensorPointer.Of(host);
        void ChooseRow(int b) =>
            tokens[b] = Choose(new ReadOnlySpan<float>(start + (long)b * vocabSize, vocabSize), rows[b], out logprobs[b]);
        if ((long)rows.Count * vocabSize < ParallelFrom)
            for (int b = 0; b < rows.Count; b++)
                ChooseRow(b);
        else
            Parallel.For(0, rows.Count, new ParallelOptions { MaxDegreeOfParallelism = get_num_threads() }, ChooseRow);
        for (int b = 0; b < rows.Count; b++)
            if (tokens[b] < 0)
                throw Failure(rows[b], tokens[b]);
        return (tokens, logprobs);
    }

    private int Choose(ReadOnlySpan<float> logits, ResponseRow row, out float logprob)
    {
        Span<double> blockSums = new double[Categorical.BlockCount(logits.Length)];
        var policy = new Categorical(logits, blockSums);
        logprob = float.NaN;
        if (!policy.IsProper)
            return NotFinite;
        if (row.TopLogprobs is { } top)
            row.AddTop(policy.Likeliest(top));
        int token;
        if (!processes)
            token = config.DoSample ? policy.Draw(row.Random.NextDouble()) : Categorical.ArgMax(logits);
        else
        {
            var processed = logits.ToArray();
            LogitsProcessors.Apply(processed, row.Text, row.QueryLength, config, endTokens);
            var warped = new Categorical(processed, new double[blockSums.Length]);
            if (!warped.IsProper)
                return NothingLeft;
            token = config.DoSample ? warped.Draw(row.Random.NextDouble()) : Categorical.ArgMax(processed);
        }
        logprob = (float)policy.Logprob(token);
        return token;
    }

    private static Exception Failure(ResponseRow row, int kind)
    {
        string place = $"Row {row.Index}, response token {row.ResponseLength}";
        return kind == NotFinite
            ? new NonFiniteLogitsException(
                $"{place}: the model's logits hold NaN or infinity. Its weights are damaged or its training diverged; " +
                "go back to an earlier checkpoint and lower the learning rate.")
            : new InvalidOperationException($"{place}: the generation settings forbid every token of the vocabulary. " +
                "Lower NoRepeatNgramSize, MinLength or MinNewTokens.");
    }
}
