using Rlhf.Runtime.Operators;
using static TorchSharp.torch;

namespace Rlhf.Generation;

/// <summary>A token that was chosen, and its logprob under the logits as they were given; or why there is none.</summary>
internal readonly record struct TokenChoice(int Token, float Logprob)
{
    public const int NotFinite = -1, NothingLeft = -2;

    /// <summary>Why no token was chosen; null where one was.</summary>
    public Exception? Failure(ResponseRow row)
    {
        string place = $"Row {row.Index}, response token {row.ResponseLength}";
        return Token switch
        {
            NotFinite => new NonFiniteLogitsException(
                $"{place}: the model's logits hold NaN or infinity. Its weights are damaged or its training diverged; " +
                "go back to an earlier checkpoint and lower the learning rate."),
            NothingLeft => new InvalidOperationException($"{place}: the generation settings forbid every token of the vocabulary. " +
                "Lower NoRepeatNgramSize, MinLength or MinNewTokens."),
            _ => null,
        };
    }
}

/// <summary>Chooses the next token of a row from its logits by its settings, on the host; rows are independent of each other.</summary>
/// <remarks>B rows, V vocabulary.</remarks>
internal sealed class TokenChooser(GenerationConfig config, int[] endTokens)
{
    private const int ParallelFrom = 1 << 18;
    private readonly bool processes = !(config with { DoSample = true }).IsUnwarped;

    /// <summary>Does a token end the response?</summary>
    public bool Ends(int token) => endTokens.Contains(token);

    /// <summary>The next token of each row by its own chooser. To be called in a dispose scope.</summary>
    /// <param name="logits">[B, V] on any device, of any floating point type.</param>
    /// <param name="rows">The B rows, in the logits' order.</param>
    public static unsafe TokenChoice[] Choose(Tensor logits, IReadOnlyList<ResponseRow> rows)
    {
        var choices = new TokenChoice[rows.Count];
        var host = logits.to(float32).cpu().contiguous();
        int vocabSize = (int)host.shape[1];
        // Memory of the tensor, which does not move; a span could not enter the parallel loop.
        var start = (float*)TensorPointer.Of(host);
        void ChooseRow(int b) =>
            choices[b] = rows[b].Chooser.Choose(new ReadOnlySpan<float>(start + (long)b * vocabSize, vocabSize), rows[b]);
        if ((long)rows.Count * vocabSize < ParallelFrom)
            for (int b = 0; b < rows.Count; b++)
                ChooseRow(b);
        else
            Parallel.For(0, rows.Count, new ParallelOptions { MaxDegreeOfParallelism = get_num_threads() }, ChooseRow);
        return choices;
    }

    private TokenChoice Choose(ReadOnlySpan<float> logits, ResponseRow row)
    {
        Span<double> blockSums = new double[Categorical.BlockCount(logits.Length)];
        var policy = new Categorical(logits, blockSums);
        if (!policy.IsProper)
            return new(TokenChoice.NotFinite, float.NaN);
        int token;
        if (!processes)
            token = config.DoSample ? policy.Draw(row.Random.NextDouble()) : Categorical.ArgMax(logits);
        else
        {
            var processed = logits.ToArray();
            LogitsProcessors.Apply(processed, row.Text, row.QueryLength, config, endTokens);
            var warped = new Categorical(processed, new double[blockSums.Length]);
            if (!warped.IsProper)
                return new(TokenChoice.NothingLeft, float.NaN);
            token = config.DoSample ? warped.Draw(row.Random.NextDouble()) : Categorical.ArgMax(processed);
        }
        if (row.TopLogprobs is { } top)
            row.AddTop(policy.Likeliest(top));
        return new(token, (float)policy.Logprob(token));
    }
}
