using System.Text.Json.Nodes;
using Rlhf.Models;
using Rlhf.Models.Encoders;

namespace Rlhf.Tests.Models.Encoders;

/// <summary>Finds the classifier folders among the fixtures: those whose config.json says so, whatever they are called.</summary>
internal static class ClassifierFixtures
{
    private static readonly string[] Usual = ["bert-tiny", "distilbert-tiny", "roberta-tiny"];

    /// <summary>Folder names; the usual three are always among them, so that their absence is reported as a skip.</summary>
    public static IEnumerable<string> Folders() => Usual.Union(Found()).Order();

    /// <summary>Each folder with each group of inputs of its file of expected numbers.</summary>
    public static IEnumerable<(string Folder, string Group)> Groups() =>
        from folder in Folders()
        from groupName in File.Exists(ExpectedPath(folder)) ? InputGroups(folder) : ["right"]
        select (folder, groupName);

    /// <summary>False where rows begin with padding, which changes what an encoder's head reads.</summary>
    public static bool PadsOnTheRight(string folder, string group) =>
        !File.Exists(ExpectedPath(folder))
            || FixtureTensors.Load(ExpectedPath(folder)).Rows(group + ".attention_mask").All(row => row[0] != 0);

    public static FixtureTensors Expected(string folder) => FixtureTensors.Load(Fixtures.Path(folder + "-expected.safetensors"));

    public static FixtureTensors Weights(string folder) => FixtureTensors.Load(Fixtures.Path(folder, "model.safetensors"));

    public static JsonObject Config(string folder) => JsonNode.Parse(File.ReadAllText(Fixtures.Path(folder, "config.json")))!.AsObject();

    /// <summary>The model, with weights that the library's own file reader had no part in.</summary>
    public static EncoderForSequenceClassification Load(string folder)
    {
        var model = (EncoderForSequenceClassification)AutoModelForSequenceClassification.FromConfig(LoadConfig(Fixtures.Path(folder)));
        model.LoadWeights(Weights(folder));
        return model;
    }

    public static EncoderConfig LoadConfig(string folder) =>
        (string?)JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "config.json")))!["model_type"] switch
        {
            "distilbert" => DistilBertConfig.Load(folder),
            "bert" => BertConfig.Load(folder),
            _ => RobertaConfig.Load(folder),
        };

    private static string ExpectedPath(string folder) => Path.Combine(Fixtures.Root, folder + "-expected.safetensors");

    private static IEnumerable<string> InputGroups(string folder) => FixtureTensors.Load(ExpectedPath(folder)).Names
        .Where(name => name.EndsWith(".input_ids", StringComparison.Ordinal)).Select(name => name[..^".input_ids".Length]).Order();

    private static IEnumerable<string> Found() => !Directory.Exists(Fixtures.Root) ? [] :
        from folder in Directory.GetDirectories(Fixtures.Root)
        let config = Path.Combine(folder, "config.json")
        where File.Exists(config)
        where (string?)JsonNode.Parse(File.ReadAllText(config))?["model_type"] is "distilbert" or "bert" or "roberta"
        select Path.GetFileName(folder);
}
