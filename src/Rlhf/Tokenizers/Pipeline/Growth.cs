namespace Rlhf.Tokenizers.Pipeline;

/// <summary>A bound on what replacements may make of a text: a few rules that double it, one after the other, would fill any memory.</summary>
internal static class Growth
{
    private const int Base = 1 << 16, Factor = 16;

    /// <summary>Refuses a text that has grown out of all proportion.</summary>
    /// <param name="before">Characters that there were.</param>
    /// <param name="after">Characters that there are.</param>
    /// <exception cref="PipelineLimitException">It has.</exception>
    public static void Check(long before, long after)
    {
        if (after > Base + Factor * before)
            throw new PipelineLimitException($"normalizer or decoder make {after:N0} characters of {before:N0}; "
                + "remove the replacements that repeat text.");
    }
}
