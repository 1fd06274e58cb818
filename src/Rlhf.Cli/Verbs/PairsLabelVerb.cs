using System.ComponentModel;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Data;
using Rlhf.Reporting;
using Rlhf.Rewards;
using Rlhf.Training.RewardModeling;

namespace Rlhf.Cli.Verbs;

/// <summary>What is labeled by whom.</summary>
internal sealed record PairLabelFlags
{
    [Description("Pairs to label: what rlhf pairs sample wrote.")]
    [ValueName("PATH")]
    [DataInput(OfTheHub = false)]
    public string? Pairs { get; init; }

    [Description("Who labels: a classifier or a reward model; default: the sentiment classifier that ships.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    public string? RewardModel { get; init; }

    [Description("Label whose logit is the reward; default: POSITIVE.")]
    [ValueName("NAME")]
    public string? RewardLabel { get; init; }

    [Description("File for the labeled pairs: JSON lines with prompt, chosen and rejected.")]
    [ValueName("FILE")]
    public string? Out { get; init; }

    [Description("Replace the file if it is there.")]
    public bool Overwrite { get; init; }
}

/// <summary><c>rlhf pairs label</c>: a scorer takes the place of people.</summary>
internal static class PairsLabelVerb
{
    public static VerbCommand Create() => new(
        "label", "labels pairs by a reward model, with ties and mistakes, as people would.",
        [
            "rlhf pairs label --pairs pairs.jsonl --reward-model runs/my-reward --out labelled.jsonl",
            "rlhf pairs label --pairs pairs.jsonl --tie-margin 0.1 --label-temperature 1 --out labelled.jsonl",
        ],
        new SettingsBinder()
            .Add("Files", new PairLabelFlags())
            .Add("Labels", new PairLabelingConfig(), c => c.Validate())
            .Add("Compute", new ComputeFlags(), o => o.Validate())
            .Check(s => Problems(s.Get<PairLabelFlags>())),
        Run);

    private static IEnumerable<string> Problems(PairLabelFlags options) =>
    [
        .. options.Pairs is null ? ["--pairs is missing; name what rlhf pairs sample wrote."] : Array.Empty<string>(),
        .. PairsVerb.OutProblems(options.Out, options.Overwrite),
    ];

    private static int Run(VerbContext context)
    {
        var (options, config) = (context.Settings.Get<PairLabelFlags>(), context.Settings.Get<PairLabelingConfig>());
        var screen = context.Screen;
        string source = options.Pairs!;
        string rewardFolder = ModelFolders.ResolveOrShipped(
            context, "--reward-model", options.RewardModel, ModelFolders.ShippedReward);
        string file = PairsVerb.NewFile(options.Out, options.Overwrite);
        var pairs = PairFile.Load(source);
        var device = context.Settings.Get<ComputeFlags>().StartToRead($"Scoring with {rewardFolder}", rewardFolder);
        using var scorer = AutoReward.FromPretrained(rewardFolder, device, options.RewardLabel);
        screen.Line($"Labeling {Numbers.Count(pairs.Count, "pair")} by {Screen.Safe(rewardFolder)} …");

        var labels = ProgressDisplay.Run(screen, "Labeling", "pair", pairs.Count, display => PairLabeler.Label(
            pairs, scorer, config, ModelFolders.NameOf(rewardFolder), done => display.Report(done), context.Stop));
        if (labels.Pairs.Count == 0)
            throw new InvalidDataException($"{source}: none of {pairs.Count:N0} pairs could be labeled, and no file was "
                + "written; " + (pairs.Count == 0 ? "the file is empty." : "all are ties: lower --tie-margin."));
        PairFile.Save(file, labels.Pairs);
        if (screen.Json)
            screen.WriteJson(new
            {
                File = file,
                Pairs = labels.Pairs.Count,
                labels.Ties,
                labels.Agreement,
                labels.ChoseFirst,
                labels.ChoseLonger,
                labels.MeanScoreDifference,
            });
        else
            screen.Facts(file,
            [
                ("labeled pairs", $"{labels.Pairs.Count:N0} of {pairs.Count:N0}"),
                ("ties, left out", $"{labels.Ties:N0}"),
                ("labels that agree with the scores",
                    ProgressDisplay.Percent(labels.Agreement) + ", the most a reward model can learn to predict"),
                ("chose the first answer", ProgressDisplay.Percent(labels.ChoseFirst)),
                ("chose the longer answer", ProgressDisplay.Percent(labels.ChoseLonger)),
                ("mean difference of the scores", ProgressDisplay.Number(labels.MeanScoreDifference)),
            ]);
        return ExitCode.Success;
    }
}
