using Rlhf.Generation;

namespace Rlhf.Studio.Playground;

/// <summary>How answers are sampled, as a page's controls set it.</summary>
public sealed class Dials
{
    /// <summary>Divides the logits.</summary>
    public double Temperature { get; set; } = 1;

    /// <summary>Most tokens of an answer.</summary>
    public int Length { get; set; } = 24;

    /// <summary>Only so many of the likeliest tokens may be chosen; 0: all.</summary>
    public int TopK { get; set; }

    /// <summary>Only the likeliest tokens of together this probability may be chosen; 1: all.</summary>
    public double TopP { get; set; } = 1;

    /// <summary>The same seed gives the same answers.</summary>
    public long Seed { get; set; } = 1;

    /// <summary>These settings for a generator.</summary>
    public GenerationConfig ToConfig() => new() { MaxNewTokens = Length, Temperature = Temperature, TopK = TopK, TopP = TopP };

    /// <summary>Takes another seed.</summary>
    public void NextSeed() => Seed = Seed is < 0 or >= int.MaxValue ? 0 : Seed + 1;
}
