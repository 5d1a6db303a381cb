"""A picture goes down the floors of the house on its way to its row, and returns are all that goes up."""

from walk import climbs, markdown, of_a_picture


def test_a_picture_goes_down_the_floors_and_no_call_climbs_back(tmp_path):
    hops = of_a_picture(tmp_path)
    print(markdown(hops))
    assert not climbs(hops)
    entered = [f"{hop.callee.room}/{hop.callee.file}.{hop.callee.function}" for hop in hops]
    stations = ["pictures/inputs.of", "scoring/scorer.load", "scoring/scorer.Scorer.write", "scoring/lifelog.score"]
    stations += ["scoring/loop.scored", "pictures/decoding.decode", "scoring/score_file.ScoreFile.append"]
    assert [entered.index(station) for station in stations] == sorted(entered.index(station) for station in stations)
    assert (tmp_path / "photo.csv").read_text().count("\n") == 2
