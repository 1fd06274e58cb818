using System.ComponentModel;
using Rlhf.Cli.Rewards;
using Rlhf.Cli.Settings;
using Rlhf.Runtime;

namespace Rlhf.Cli.Flags;

/// <summary>The setting names rewards.</summary>
internal sealed class RewardInputAttribute : InputAttribute
{
    public override IEnumerable<string> Problems(string value) =>
        from text in RepeatedAttribute.Split(value)
        let problem = RewardSpec.Parse(text).Problem()
        where problem is not null
        select $"{text} {problem}";
}

/// <summary>What scores answers.</summary>
internal sealed record ScoringFlags
{
    [Description(RewardSpec.Help)]
    [ValueName("[WEIGHT:]REWARD")]
    [Repeated]
    [RewardInput]
    [MayChange]
    public string? Reward { get; init; }

    [Description("Label of a classifier whose logit is the reward; default: the one label that says positive.")]
    [ValueName("NAME")]
    public string? RewardLabel { get; init; }

    [Description("Seconds that http:// and exec: rewards may take over the answers of one step.")]
    [MayChange]
    public double RewardTimeout { get; init; } = 60;

    public IEnumerable<string> Validate()
    {
        if (!(RewardTimeout is > 0 and <= 86400)) yield return $"RewardTimeout is {RewardTimeout}; it must be above 0 and at most 86400.";
    }

    /// <summary>What --reward names.</summary>
    public RewardSpec[] Specs => [.. RepeatedAttribute.Split(Reward).Select(RewardSpec.Parse)];

    /// <summary>Time for the answers of one step.</summary>
    public TimeSpan Timeout => TimeSpan.FromSeconds(RewardTimeout);
}
