using Rlhf.Tokenizers.Pipeline.Decoders;
using Rlhf.Tokenizers.Pipeline.Models;
using Rlhf.Tokenizers.Pipeline.Normalizers;
using Rlhf.Tokenizers.Pipeline.PreTokenizers;

namespace Rlhf.Tokenizers.Pipeline;

/// <summary>Puts the parts of a tokenizer.json together.</summary>
internal static class PipelineReader
{
    /// <summary>Pre-tokenizers hand text on to each other, and each call takes room on the stack.</summary>
    private const int MostStations = 64;

    public static PipelineTokenizer Read(string folder, JsonPlace json, JsonPlace model, JsonPlace? configuration,
        string? tokenizerClass, IReadOnlyList<AddedToken> listed)
    {
        var normalizer = json["normalizer"] is { } change ? NormalizerReader.Read(change) : null;
        var stations = json["pre_tokenizer"] is { } split ? PreTokenizerReader.Read(split).ToArray() : [];
        if (stations.Length > MostStations)
            throw json.Required("pre_tokenizer").Wrong($"has {stations.Length} steps; at most {MostStations} are read");
        var decoder = json["decoder"] is { } join ? DecoderReader.Read(join) : null;
        var read = ModelReader.Read(model);
        TokenizerJson.CheckHoles(model.Required("vocab"), read.Vocabulary, listed);
        var first = read.Model;
        if (stations is [.., ByteLevelPreTokenizer bytes] && read.ByteModel is { } byteModel)
            (first, bytes.LeavesBytesToModel) = (byteModel, true);
        foreach (var station in stations.Reverse())
            (station.Next, first) = (first, station);
        var settings = TokenizerFiles.ReadSettings(
            folder, configuration, tokenizerClass ?? "PreTrainedTokenizerFast", new(), read.Vocabulary, listed);
        settings = settings with { Template = TokenizerJson.PostProcessor(json) ?? SequenceTemplate.None };
        return new(read.Vocabulary, settings, new(normalizer, first, decoder, json.File)
        {
            SplitsAtSpaces = (json["normalizer"] is not { } form || form.Text("type") == "NFC") && stations.All(IsPublished)
                && stations.Any(s => s is ByteLevelPreTokenizer { UsesPattern: true } or SplitPreTokenizer { Words: not null }),
        });
    }

    /// <summary>Stations of byte-level vocabularies whose words end where a single space stands between letters.</summary>
    private static bool IsPublished(PreTokenizer station) =>
        station is ByteLevelPreTokenizer or SplitPreTokenizer { Words: not null } or SplitPreTokenizer { IsOfDigits: true };
}
