using Rlhf.Rewards;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Tests.Rewards;

/// <summary>Rewards that check an answer by a rule.</summary>
public sealed class VerifierRewardTests
{
    [Theory]
    [InlineData("42", 42L, 1)]
    [InlineData("so it is 1,234.50 dollars.", 1234.5, 1)]
    [InlineData("10 - 3 = 7", "the sum is\n#### 7", 1)]
    [InlineData("7 or 8", 7L, 0)] // the last number counts
    [InlineData("-5", 5L, 0)]
    [InlineData("x=10-5", "5", 1)] // a hyphen between numbers is no sign
    [InlineData("1e3", 1000L, 1)]
    [InlineData("0.33333333", 0.333333333, 1)]
    [InlineData("none", 7L, 0)]
    public void NumbersAreCompared(string response, object right, float expected) =>
        Assert.Equal([expected], VerifierReward.NumberMatch("answer").Score([With("answer", right, response)]));

    [Theory]
    [InlineData(" yes\n", "yes", 1)]
    [InlineData("Yes", "yes", 0)]
    [InlineData("3", 3L, 1)]
    [InlineData("true", true, 1)]
    [InlineData("0.5", 0.5, 1)]
    public void TextsAreCompared(string response, object right, float expected) =>
        Assert.Equal([expected], VerifierReward.ExactMatch("answer").Score([With("answer", right, response)]));

    [Fact]
    public void AColumnThatIsMissingIsNamedWithThoseThatAreThere()
    {
        var error = Assert.Throws<RewardException>(() => VerifierReward.ExactMatch("answer").Score([With("result", "1", "1")]));
        Assert.Contains("compares with the column \"answer\"", error.Message, StringComparison.Ordinal);
        Assert.Contains("\"result\"", error.Message, StringComparison.Ordinal);
        Assert.Contains("holds no number", Assert.Throws<RewardException>(() =>
            VerifierReward.NumberMatch("answer").Score([With("answer", "many", "1")])).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("^[0-9]+$", "123", 1)]
    [InlineData("^[0-9]+$", "12a", 0)]
    [InlineData("<answer>.*</answer>", "so <answer>4</answer>", 1)]
    public void PatternsAreSearched(string pattern, string response, float expected) =>
        Assert.Equal([expected], VerifierReward.Matches(pattern).Score([new("q", response)]));

    [Fact]
    public void APatternThatTakesForeverIsStopped() => Assert.Contains("Write it without repetitions of repetitions", Assert.Throws<RewardException>(() =>
        VerifierReward.Matches("^(a+)+$").Score([new("q", new string('a', 60) + "b")])).Message, StringComparison.Ordinal);

    [Fact]
    public void LengthsAreCountedOrComparedWithATarget()
    {
        Completion[] answers = [new("q", ""), new("q", "abcd"), new("q", "abcdefgh"), new("q", "abcdefghijklmnopqrst")];
        Assert.Equal([0, 4, 8, 20], VerifierReward.Length().Score(answers));
        Assert.Equal([0, 0.5f, 1, 0], VerifierReward.Length(8).Score(answers));
    }

    [Theory]
    [InlineData("""{"answer": 4}""", 1)]
    [InlineData("""{"answer": "four"}""", 0)]
    [InlineData("""{"reason": "x"}""", 0)]
    [InlineData("""{"answer": 4""", 0)]
    [InlineData("", 0)]
    [InlineData("""{"answer": 4} and so on""", 0)]
    public void JsonIsCheckedByItsSchema(string response, float expected)
    {
        using var reward = new JsonSchemaReward("""{"type":"object","properties":{"answer":{"type":"integer"}},"required":["answer"]}""");
        Assert.Equal([expected], reward.Score([new("q", response)]));
        Assert.Throws<InvalidDataException>(() => new JsonSchemaReward("""{"type": 7}"""));
        Assert.Throws<InvalidDataException>(() => new JsonSchemaReward("not JSON"));
    }

    [Fact]
    public void AProgramIsStartedOnceAndAnswersEachLine()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The program is a shell's.");
        // Numbers that count the lines: a second start would begin at 1 again.
        using var reward = new ExecReward("sh", "-c", "n=0; while read -r line; do n=$((n+1)); case \"$line\" in *'\"answer\":7'*) echo 10$n;; *) echo $n;; esac; done");
        Completion[] two = [new("q", "a"), With("answer", 7L, "b") with { Messages = [new ChatMessage("user", "hi")] }];
        Assert.Equal([1, 102], reward.Score(two));
        Assert.Equal([3, 104], reward.Score(two));
    }

    [Theory]
    [InlineData("echo broken >&2; exit 3", "ended with exit code 3 after 0 of 1 numbers. Its last words on standard error: broken")]
    [InlineData("read -r line; echo good", "answered \"good\" to line 1, which is not a number")]
    [InlineData("read -r line; echo nan", "A score must be finite")]
    public void AProgramThatFailsIsReported(string script, string message)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The program is a shell's.");
        using var reward = new ExecReward("sh", "-c", script);
        Assert.Contains(message, Assert.Throws<RewardException>(() => reward.Score([new("q", "a")])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AProgramThatIsTooSlowIsKilledWithItsChildren()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Looks into /proc.");
        using var folder = new Fixtures.TemporaryFolder();
        string child = Path.Combine(folder.Path, "child"), parent = Path.Combine(folder.Path, "parent");
        using var reward = new ExecReward("sh", "-c", $"sleep 600 & echo $! > '{child}'; echo $$ > '{parent}'; cat > /dev/null; wait") { Timeout = TimeSpan.FromSeconds(1) };
        Assert.Contains("gave 0 of 1 numbers within 1 s", Assert.Throws<RewardException>(() => reward.Score([new("q", "a")])).Message, StringComparison.Ordinal);
        foreach (string id in (string[])[child, parent])
            Assert.True(IsGone(File.ReadAllText(id).Trim()), id);

        // Killed is not yet reaped: what is left is a zombie.
        static bool IsGone(string id)
        {
            try
            {
                return !File.Exists($"/proc/{id}/stat") || File.ReadAllText($"/proc/{id}/stat").Split(')')[^1].TrimStart()[0] is 'Z' or 'X';
            }
            catch (IOException)
            {
                return true;
            }
        }
    }

    [Fact]
    public void AProgramThatDoesNotExistIsNamed()
    {
        using var reward = ExecReward.FromCommandLine("no-such-program --flag");
        Assert.Contains("no-such-program cannot be started", Assert.Throws<RewardException>(() => reward.Score([new("q", "a")])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ACommandLineIsWordsAndQuotes()
    {
        Assert.Equal(["python3", "my grade.py", "", "a\"b"], ExecReward.Words("python3 'my grade.py'  \"\" 'a\"b'"));
        Assert.Throws<ArgumentException>(() => ExecReward.Words("python3 'grade.py"));
        Assert.Throws<ArgumentException>(() => ExecReward.FromCommandLine(" "));
    }

    private static Completion With(string column, object? value, string response) =>
        new("q", response) { Fields = new Dictionary<string, object?> { [column] = value } };
}
