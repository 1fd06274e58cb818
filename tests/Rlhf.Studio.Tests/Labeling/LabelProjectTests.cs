using System.Text;
using Rlhf.Data;
using Rlhf.Studio.Labeling;
using Rlhf.Tests;

namespace Rlhf.Studio.Tests.Labeling;

public sealed class LabelProjectTests : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();
    private readonly Labeler anna = Labeler.New("anna");

    private PairSource Source =>
        new("", "pairs.jsonl", Path.Combine(folder.Path, "pairs.jsonl"), Path.Combine(folder.Path, "labelled.jsonl"));

    public void Dispose() => folder.Dispose();

    [Fact]
    public void ChoicesAreTrainingLinesInTheDocumentedForm()
    {
        WritePairs(4);
        var project = Open();
        Decide(project, Verdict.A, Verdict.Tie, Verdict.Skip, Verdict.B);
        Assert.Null(project.Next(anna));
        // By hand, from docs/preference-pairs.md.
        Assert.Equal(
            """
            {"id":"p0","prompt":"Prompt 0","chosen":" first 0","rejected":" second, longer 0","choice":"a","labeler":"anna","model":"toy"}
            {"id":"p3","prompt":"Prompt 3","chosen":" second, longer 3","rejected":" first 3","choice":"b","labeler":"anna","model":"toy"}

            """.ReplaceLineEndings("\n"), File.ReadAllText(Source.Labels));
        Assert.Equal([" first 0", " second, longer 3"], PreferenceDataset.Load(Source.Labels).Select(p => p.Chosen));
        var progress = project.Progress(anna);
        Assert.Equal((4, 0, 2, 1, 1), (progress.Pairs, progress.Open, progress.Labels, progress.Own.Ties, progress.Own.Skips));
        Assert.Equal(new Share(1, 2), progress.Own.FirstChosen);
        Assert.Equal(new Share(1, 2), progress.Own.LongerChosen);
    }

    [Fact]
    public void TheJournalHasEveryDecision()
    {
        WritePairs(3);
        var project = Open();
        Decide(project, Verdict.Tie, Verdict.A);
        project.Undo(anna);
        string[] lines = File.ReadAllLines(Source.Journal);
        Assert.Equal(3, lines.Length);
        Assert.Matches("""^\{"time":"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ","id":"p0","verdict":"tie","shown":"ab","repeat":false,"labeler":"anna","session":"[0-9a-f]{8}","seconds":1.5\}$""",
            lines[0]);
        Assert.Contains("\"id\":\"p1\",\"verdict\":\"undo\"", lines[2], StringComparison.Ordinal);
    }

    [Fact]
    public void UndoTakesBackOneAfterAnotherAndShowsThePairAgain()
    {
        WritePairs(3);
        var project = Open();
        Decide(project, Verdict.A, Verdict.Skip, Verdict.B);
        Assert.Equal("p2", project.Undo(anna)!.Pair.Id);
        Assert.Equal(["p0"], LabelledIds());
        Assert.Equal("p1", project.Undo(anna)!.Pair.Id);
        Assert.Equal("p0", project.Undo(anna)!.Pair.Id);
        Assert.Empty(LabelledIds());
        Assert.Null(project.Undo(anna));
        Assert.Equal("p0", project.Next(anna)!.Pair.Id);
        Decide(project, Verdict.B);
        Assert.Equal([" second, longer 0"], PreferenceDataset.Load(Source.Labels).Select(p => p.Chosen));
    }

    [Fact]
    public void ARestartGoesOnAndCanTakeBack()
    {
        WritePairs(5);
        Decide(Open(), Verdict.A, Verdict.B, Verdict.Tie);
        var project = Open();
        var later = Labeler.New("anna");
        Assert.Equal("p3", project.Next(later)!.Pair.Id);
        Assert.Equal("p2", project.Undo(later)!.Pair.Id);
        Assert.Equal("p1", project.Undo(later)!.Pair.Id);
        Assert.Equal(["p0"], LabelledIds());
    }

    [Theory]
    [InlineData(1, 3, 0)] // only the end is missing: the decision is whole
    [InlineData(60, 2, 1)]
    public void AHalfLastLineIsLeftBehind(int cut, int labels, int unreadable)
    {
        WritePairs(4);
        Decide(Open(), Verdict.A, Verdict.A);
        File.WriteAllBytes(Source.Journal, File.ReadAllBytes(Source.Journal)[..^cut]);
        File.WriteAllText(Source.Labels, File.ReadAllLines(Source.Labels)[0] + "\n{\"id\":\"p1\",\"pro");
        var project = Open();
        Assert.Equal(unreadable, project.Progress(anna).Unreadable);
        Decide(project, Verdict.B);
        Assert.Equal(labels, LabelledIds().Length);
        Assert.Equal(3, File.ReadAllLines(Source.Journal).Length);
        Assert.Equal(LabelledIds(), Reopened());
    }

    [Fact]
    public void LabelsFollowTheJournalWhenACrashCameBetween()
    {
        WritePairs(3);
        Decide(Open(), Verdict.A, Verdict.B);
        string whole = File.ReadAllText(Source.Labels);
        File.WriteAllText(Source.Labels, whole[..(whole.IndexOf('\n') + 20)]);
        Open();
        Assert.Equal(whole, File.ReadAllText(Source.Labels));
    }

    [Fact]
    public void SomePairsComeAgainSwappedAndAreNotTrainedOn()
    {
        WritePairs(120);
        var project = Open(repeatEvery: 12);
        int again = 0, same = 0;
        for (int i = 0; project.Next(anna) is { } shown; i++)
        {
            Assert.Equal(shown.Repeat, shown.Swapped);
            if (shown.Repeat)
            {
                Assert.Equal((shown.Pair.ResponseB, shown.Pair.ResponseA), (shown.First, shown.Second));
                // At first the first answer was chosen; now every third time the other one is.
                project.Record(anna, shown, shown.Prefers(first: again % 3 == 0), 1);
                same += again++ % 3 == 0 ? 0 : 1;
            }
            else
                project.Record(anna, shown, shown.Prefers(first: true), 1);
        }
        Assert.InRange(again, 8, 13); // about one in twelve of 120
        Assert.Equal(new Share(same, again), project.Progress(anna).Own.SameAgain);
        Assert.Equal(120, LabelledIds().Length);
        Assert.All(PairFile.Load(Source.Pairs).Zip(PreferenceDataset.Load(Source.Labels)), p =>
            Assert.Equal(p.First.ResponseA, p.Second.Chosen));
        Assert.Equal(new Share(120, 120), project.Progress(anna).Own.FirstChosen);
    }

    [Fact]
    public void ARepeatThatIsTakenBackComesAtOnceAgain()
    {
        WritePairs(40);
        var project = Open(repeatEvery: 12);
        Presentation shown;
        while (!(shown = project.Next(anna)!).Repeat)
            project.Record(anna, shown, Verdict.A, 1);
        project.Record(anna, shown, Verdict.B, 1);
        Assert.Equal(shown, project.Undo(anna));
        Assert.Equal(0, project.Progress(anna).Own.SameAgain.Of);
        Assert.Equal(shown, Open(repeatEvery: 12).Next(anna));
    }

    [Fact]
    public void TwoPeopleShareTheWork()
    {
        WritePairs(4);
        var project = Open();
        var bert = Labeler.New("bert");
        var (hers, his) = (project.Next(anna)!, project.Next(bert)!);
        Assert.Equal(("p0", "p1"), (hers.Pair.Id, his.Pair.Id));
        project.Record(bert, his, Verdict.B, 1);
        project.Record(anna, hers, Verdict.A, 1);
        Assert.Equal("p1", project.Undo(bert)!.Pair.Id); // his, though hers is the last of all
        Assert.Equal(["p0"], LabelledIds());
        Assert.Equal("p2", project.Next(anna)!.Pair.Id); // he has p1
        Assert.Equal((1, 0), (project.Progress(anna).Own.Choices, project.Progress(bert).Own.Choices));
        Assert.Equal(["anna"], project.Names());
    }

    [Fact]
    public void AnotherProcessesDecisionsAreSeen()
    {
        WritePairs(4);
        var (one, other) = (Open(), Open());
        Decide(one, Verdict.A);
        Decide(other, Verdict.B);
        Decide(one, Verdict.A);
        Assert.Equal(["p0", "p1", "p2"], LabelledIds());
        Assert.Equal(LabelledIds(), Reopened());
    }

    [Fact]
    public void WhatWasSkippedCanBeJudgedLater()
    {
        WritePairs(2);
        var project = Open();
        Decide(project, Verdict.Skip, Verdict.A);
        Assert.Null(project.Next(anna));
        var again = project.Next(anna, skippedAgain: true)!;
        Assert.Equal(("p0", false), (again.Pair.Id, again.Repeat));
        project.Record(anna, again, Verdict.B, 1);
        Assert.Null(project.Next(anna, skippedAgain: true));
        Assert.Equal(["p1", "p0"], LabelledIds());
        Assert.Equal(0, project.Progress(anna).Own.Skips);
        project.Undo(anna);
        Assert.Equal(1, project.Progress(anna).Own.Skips);
    }

    [Fact]
    public void LabelsOfOtherMeansAreNotWrittenOver()
    {
        WritePairs(2);
        var pair = PairFile.Load(Source.Pairs)[0];
        PairFile.Save(Source.Labels, [new LabeledPair(pair, PairChoice.A, "model")]);
        string before = File.ReadAllText(Source.Labels);
        Assert.Contains("1 labels that were not given here", Assert.Throws<InvalidDataException>(() => Open()).Message,
            StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllText(Source.Labels));
    }

    [Fact]
    public void TheJournalOfOtherPairsIsRefused()
    {
        WritePairs(3);
        Decide(Open(), Verdict.A, Verdict.A, Verdict.A);
        WritePairs(2);
        Assert.Contains("1 decisions about pairs that are not in", Assert.Throws<InvalidDataException>(() => Open()).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void AJournalThatIsGoneIsSaidAndOpenedAnew()
    {
        WritePairs(3);
        var desk = new LabelDesk(new(new() { Pairs = Source.Pairs, Labels = Source.Labels }), new() { RepeatEvery = 0 });
        var project = desk.Open("")!;
        Decide(project, Verdict.Tie, Verdict.Tie);
        Assert.Same(project, desk.Open(""));
        File.Delete(Source.Journal);
        Assert.Contains("not there any more", Assert.Throws<IOException>(() => project.Next(anna)).Message, StringComparison.Ordinal);
        Assert.Equal(3, desk.Open("")!.Progress(anna).Open);
        Assert.Null(desk.Open("other"));
    }

    [Fact]
    public void ALinkIsNotWrittenThrough()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Links need rights on Windows.");
        WritePairs(2);
        string elsewhere = Path.Combine(folder.Path, "elsewhere");
        File.CreateSymbolicLink(Source.Labels, elsewhere);
        Assert.Contains("is a link", Assert.Throws<InvalidDataException>(() => Open()).Message, StringComparison.Ordinal);
        Assert.False(File.Exists(elsewhere));
    }

    [Theory]
    [InlineData("")]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("{\"time\":5,\"id\":7,\"verdict\":\"a\",\"shown\":\"ab\",\"seconds\":1,\"repeat\":false}")]
    [InlineData("{\"time\":\"2026-01-01T00:00:00Z\",\"id\":\"p0\",\"verdict\":\"c\",\"shown\":\"ab\",\"seconds\":1,\"repeat\":false}")]
    [InlineData("{\"time\":\"2026-01-01T00:00:00Z\",\"id\":\"p0\",\"verdict\":\"a\",\"shown\":\"xx\",\"seconds\":1,\"repeat\":false}")]
    [InlineData("{\"time\":\"2026-01-01T00:00:00Z\",\"id\":\"p0\",\"verdict\":\"a\",\"shown\":\"ab\",\"seconds\":\"1\",\"repeat\":0}")]
    public void AStrangeLineIsNoDecision(string line) => Assert.Null(Decision.Parse(Encoding.UTF8.GetBytes(line)));

    [Fact]
    public void ALineIsReadAsItWasWritten()
    {
        var decision = new Decision(new(2026, 1, 2, 3, 4, 5, 678, DateTimeKind.Utc), "p\"1\n", Verdict.B, true, true, "Änne",
            "0a1b2c3d", 12.25);
        Assert.Equal(decision, Decision.Parse(decision.ToLine()));
    }

    [Theory]
    [InlineData(" anna\n", "anna")]
    [InlineData(null, "")]
    [InlineData("a\u0007b", "ab")]
    public void NamesStayOnOneLine(string? given, string kept) => Assert.Equal(kept, Labeler.New(given ?? "").Name);

    // Wilson's 99 % interval of 15 of 20 is 46.1 to 91.3 %, of 19 of 20 it is 68.8 to 99.4 %.
    [Theory]
    [InlineData(15, 20, false)]
    [InlineData(19, 20, true)]
    [InlineData(1, 20, true)]
    [InlineData(10, 10, false)]
    public void AHabitIsToldFromChance(int count, int of, bool far) => Assert.Equal(far, new Share(count, of).IsFarFromHalf);

    private LabelProject Open(int repeatEvery = 0) => LabelProject.Open(Source, repeatEvery);

    private void WritePairs(int count) => PairFile.Save(Source.Pairs,
        Enumerable.Range(0, count).Select(i => new ResponsePair($"p{i}", $"Prompt {i}", $" first {i}", $" second, longer {i}", "toy")));

    private void Decide(LabelProject project, params Verdict[] verdicts)
    {
        foreach (var verdict in verdicts)
            project.Record(anna, project.Next(anna)!, verdict, 1.5);
    }

    private string[] LabelledIds() =>
        [.. File.ReadAllLines(Source.Labels)
            .Select(l => System.Text.Json.JsonDocument.Parse(l).RootElement.GetProperty("id").GetString()!)];

    private string[] Reopened()
    {
        Open();
        return LabelledIds();
    }
}
