using System.Text.Json;
using CsCheck;
using Rlhf.Cli.Terminal;
using Rlhf.Data;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Models.Encoders;
using Rlhf.Models.Gpt2;
using Rlhf.Rewards;
using Rlhf.Runs;
using Rlhf.Runtime;
using Rlhf.Tests.Tracking;
using Rlhf.Tokenizers;
using Rlhf.Tracking;
using Spectre.Console;
using YamlDotNet.RepresentationModel;

namespace Rlhf.Tests.Fuzzing;

/// <summary>
/// Text from data passes through unharmed, and none of it becomes markup, a control sequence or another record.
/// </summary>
public sealed class HostileTextTests : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    public static TheoryData<string> Named => [.. HostileText.Named];

    private string Place(string name) => Path.Combine(folder.Path, name);

    private static ByteLevelBpeTokenizer ByteTokenizer()
    {
        var bytes = Enumerable.Range(0, 256).ToDictionary(b => ByteLevel.Symbol((byte)b).ToString(), b => b);
        return new(bytes, [], new()
        {
            SpecialTokens = SpecialTokens.Gpt2,
            AddedTokens = [new("<|endoftext|>", 256)],
        });
    }

    private static WordPieceTokenizer WordTokenizer()
    {
        string[] pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "##a", "red", "b", ",", "\ufffd", "##b", "x", "1"];
        return new(pieces.Select((p, i) => (p, i)).ToDictionary(x => x.p, x => x.i), new()
        {
            SpecialTokens = SpecialTokens.Bert,
            AddedTokens = [new("[CLS]", 2), new("[SEP]", 3)],
            Template = SequenceTemplate.Bert(2, 3),
        });
    }

    [Fact]
    public void TokenizersTakeAnyTextAndLoseNothingButHalfCharacters()
    {
        var (bytes, words) = (ByteTokenizer(), WordTokenizer());
        HostileText.Any.Sample(text =>
        {
            Assert.Equal(HostileText.Valid(text), bytes.Decode(bytes.Encode(text)));
            var ids = words.EncodePair(text, text, maxLength: 64);
            Assert.InRange(ids.Length, 1, 64);
            Assert.All(ids, id => Assert.InRange(id, 0, words.VocabSize - 1));
            _ = words.Decode(ids);
        }, iter: 2000, threads: 1);
    }

    [Fact]
    public void LinesOfAMillionCharactersGoThroughTokenizersAndFiles()
    {
        var (bytes, words) = (ByteTokenizer(), WordTokenizer());
        foreach (var text in HostileText.Long)
        {
            Assert.Equal(HostileText.Valid(text), bytes.Decode(bytes.Encode(text)));
            Assert.Equal(16, words.EncodeTruncated("a a a a a a a a a a a a a a a a a" + text, 16).Length);
        }
        File.WriteAllLines(Place("long.txt"), HostileText.Long.Select(HostileText.Valid));
        var lines = ReviewDataset.Load(Place("long.txt"));
        var kept = HostileText.Long.Select(HostileText.Valid).Where(t => !string.IsNullOrWhiteSpace(t));
        Assert.Equal(kept, lines.Select(r => r.Text));
    }

    [Fact]
    public void PromptsOfAnyTextAreAnswered()
    {
        var tokenizer = ByteTokenizer();
        using var trunk = new Gpt2LMHeadModel(new Gpt2Config
        { VocabSize = 257, NPositions = 256, NEmbd = 16, NLayer = 1, NHead = 2, BosTokenId = 256, EosTokenId = 256 });
        trunk.Initialize(3);
        using var model = CausalLMWithValueHead.FromModel(trunk, 3);
        int[][] queries = [.. HostileText.Named.Append("").Select(t => tokenizer.Encode(t) is { Length: > 0 } ids ? ids : [256])];
        var result = new TextGenerator(model).Generate(
            queries, new() { MaxNewTokens = 8, EosTokenId = -1 }, null, new RandomStream(1, "test"));
        Assert.All(result.Responses, response =>
        {
            var text = tokenizer.Decode(response);
            Assert.Equal(HostileText.Valid(text), text);
            Assert.DoesNotContain(Screen.Clean(text), char.IsControl);
        });
    }

    [Fact]
    public void RewardsScoreAnyText()
    {
        using var model = AutoModelForSequenceClassification.FromConfig(new BertConfig
        {
            VocabSize = 13,
            HiddenSize = 8,
            NumHiddenLayers = 1,
            NumAttentionHeads = 2,
            IntermediateSize = 8,
            MaxPositionEmbeddings = 64,
            Labels = ["NEGATIVE", "POSITIVE"],
        });
        model.Initialize(1);
        var pipeline = new TextClassificationPipeline(model, WordTokenizer());
        string[] texts = [.. HostileText.Named, .. HostileText.Long, ""];
        var scores = pipeline.Classify(texts, batchSize: 8);
        Assert.Equal(texts.Length, scores.Count);
        Assert.All(scores, labels => Assert.All(labels, label => Assert.True(float.IsFinite(label.Score))));
    }

    [Fact]
    public void PairsComeBackAsTheyWere() => HostileText.Any.Array[3].Sample(texts =>
    {
        var (prompt, a, b) = (texts[0], texts[1], texts[2]);
        var valid = (Prompt: HostileText.Valid(prompt), A: HostileText.Valid(a), B: HostileText.Valid(b) + "!");
        PairFile.Save(Place("pairs.jsonl"), [new ResponsePair("id", prompt, a, b + "!", prompt)]);
        if (valid.A == valid.B)
            return;
        Assert.Equal([new ResponsePair("id", valid.Prompt, valid.A, valid.B, valid.Prompt)], PairFile.Load(Place("pairs.jsonl")));
        var line = Assert.Single(File.ReadAllLines(Place("pairs.jsonl")));
        Assert.DoesNotContain(line, char.IsControl);
    }, iter: 300, threads: 1);

    [Fact]
    public void SamplesAreOneLineEachAndComeBackAsTheyWere() => HostileText.Any.Sample(text =>
    {
        File.Delete(Place(RunFiles.Samples));
        using (var sink = new JsonlSink(folder.Path))
            sink.Write(new SampleTable(text, 1, ["query", text + "?"], [[text, text], [null, 1]]));
        var lines = File.ReadAllLines(Place(RunFiles.Samples));
        Assert.Equal(2, lines.Length);
        Assert.DoesNotContain(lines[0], char.IsControl);
        using var json = JsonDocument.Parse(lines[0]);
        Assert.Equal(HostileText.Valid(text), json.RootElement.GetProperty("query").GetString());
    }, iter: 200, threads: 1);

    [Fact]
    public void TensorBoardShowsTextAndNoMarkup()
    {
        foreach (var text in HostileText.Named)
        {
            using var sink = new TensorBoardSink(Directory.CreateDirectory(Place(Guid.NewGuid().ToString())).FullName);
            sink.Write(new SampleTable("t", 1, ["query"], [[text]]));
            var shown = EventFileReader.Read(sink.FilePath)[^1].Nested(5).AllNested(1).Single().Nested(8).AllTexts(8)[1];
            Assert.DoesNotContain('<', shown);
            Assert.DoesNotMatch(@"(?<!\\)[\[\]`*_#]", shown);
        }
    }

    /// <summary>Excel and its like take a field that begins with = for a program; here it is text.</summary>
    [Fact]
    public void CsvFieldsAreText() => HostileText.Any.Sample(text =>
    {
        var valid = HostileText.Valid(text);
        File.WriteAllText(Place("t.csv"), $"text,label\n\"{valid.Replace("\"", "\"\"")}\",1\n=1+1,0\n");
        Assert.Equal([new Review(valid, 1), new Review("=1+1", 0)], ReviewDataset.Load(Place("t.csv")));
    }, iter: 300, threads: 1);

    [Theory]
    [MemberData(nameof(Named))]
    public void TerminalsShowTextAndObeyNothing(string text)
    {
        var written = new StringWriter();
        var console = AnsiConsole.Create(new()
        {
            Out = new AnsiConsoleOutput(written),
            Ansi = AnsiSupport.Yes,
            ColorSystem = ColorSystemSupport.NoColors,
        });
        console.Write(new Table().AddColumn(Screen.Safe(text)).AddRow(Screen.Safe(text)));
        console.MarkupLine(Screen.Safe(text));
        Assert.DoesNotContain(written.ToString(), c => char.IsControl(c) && c is not ('\n' or '\r'));
        Assert.DoesNotContain(JsonSerializer.Serialize(text, Screen.JsonOptions), char.IsControl);
    }

    [Fact]
    public void ModelCardsHoldTextAndNoMarkup() => HostileText.Any.Sample(text =>
    {
        var card = new ModelCard(text, text)
        {
            License = text,
            BaseModel = text,
            Tags = [text],
            Results = [new(text, text)],
            Tables = [new(text, ["text"], [[text]])],
            Command = text,
        }.ToMarkdown();
        int end = card.IndexOf("\n---\n", StringComparison.Ordinal);
        var yaml = new YamlStream();
        yaml.Load(new StringReader(card[4..end]));
        var front = (YamlMappingNode)Assert.Single(yaml.Documents).RootNode;
        Assert.Equal(["library_name", "license", "base_model", "tags"], front.Children.Keys.Select(k => k.ToString()));
        Assert.Equal(HostileText.Valid(text), ((YamlScalarNode)front["license"]).Value);
        Assert.DoesNotMatch(@"\\u[dD][89a-fA-F]", card[..end]);

        var body = card[(end + 5)..card.LastIndexOf("\n## Made with\n", StringComparison.Ordinal)];
        Assert.DoesNotContain(body, c => char.IsControl(c) && c is not ('\n' or '\t'));
        Assert.DoesNotContain('<', body);
        Assert.DoesNotMatch(@"(?<!\\)(\\\\)*[\[\]`*]", body);
        Assert.Equal(3, body.Split('\n').Count(line => line.StartsWith('#')));
    }, iter: 500, threads: 1);
}
