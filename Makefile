# make demo   photographs scored with the model that comes along, and a little training     under 3 minutes on 2 cores
# make test   the tests                                                                     (TESTS=tests)
# Both make .venv first, with what requirements*.txt pin.
# make card   what README and card say of the released weights, measured again                (the tests' browser)
# make test-portable  those of them that hang on how a processor rounds, again as older processors would
# make demo-train KonCept512 trained from random weights, tested, and let loose on a lifelog   (SEED=1), 6 minutes and more
# make test-long  the tests that take longer, or repeat what others show at another setting
# make test-cluster  those that start Ray: on this machine, and on three that it pretends to be, of which one is killed
# make kuti       .venv-kuti, in which koncept512_train_with_kuti.py runs: kuti is of 2020, and needs Keras 2
# make test-kuti  the tests of it
# make wheel      dist/koniq-*.whl: what `pip install .` installs

SEED ?= 1
TESTS ?= tests
SIDE_BY_SIDE := --numprocesses 2 --dist loadfile --no-loadscope-reorder
PYTHON := $(shell for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
CORE := $(addprefix requirements/,scoring.txt tensorflow.txt photographs.txt)  # what requirements.txt names
LISTS := $(wildcard requirements*.txt requirements/*.txt)
# Threads of OpenMP that wait by spinning would take the cores from the other of two processes.
PYTEST := OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest
MODEL := koncept_lite
LITTLE := --dataset demo/training.csv --images demo/photos --device cpu --overwrite
FROM_RANDOM := --dataset sample --weights try-imagenet --input-size 76 100 --batch-size 16 --device cpu \
	--loss plcc --momentum 0.9 \
	--epochs 3 1 --learning-rates 5e-4 1e-4 --seed $(SEED) --run demo-train/koncept512 --overwrite

.PHONY: demo demo-train card test test-portable test-long test-cluster kuti test-kuti wheel clean
.DELETE_ON_ERROR:

demo: .venv/core
	rm -rf demo
	@echo "== Photographs, distorted in known ways, and what the model of this repository says of them"
	$(BIN)/python -m koniq demo demo
	$(BIN)/python lifelog_predict.py demo/photos --weights $(MODEL) --out demo/photos_mos.csv
	@$(BIN)/python -m koniq demo demo --scores demo/photos_mos.csv
	$(BIN)/python -m koniq report demo/photos_mos.csv --sheet 12
	@echo "== A little training, to see it run: of the model on 32 pictures, and two steps of the whole KonCept512 beside it"
	$(BIN)/python koncept512_train.py $(LITTLE) --weights none --input-size 76 100 --batch-size 16 --epochs 1 \
		--learning-rates 1e-4 --run demo/koncept512 > demo/koncept512.log 2>&1 & \
	$(BIN)/python koncept512_train.py $(LITTLE) --weights $(MODEL) --network $(MODEL) --input-size 192 256 --batch-size 8 \
		--epochs 2 --learning-rates 1e-5 --run demo/$(MODEL); \
	trained=$$?; wait $$! && test $$trained -eq 0; ended=$$?; cat demo/koncept512.log; exit $$ended
	@echo
	@echo "To open: demo/photos_mos_report/report.html  the best and the worst of them, in a browser"
	@echo "         demo/photos_mos.csv                 a score for every picture"
	@echo "         demo/photos                         the pictures: NAME_DISTORTION_STEP.jpg"
	@echo "         demo/$(MODEL)/curves.png        what a training leaves; log.csv, settings.json and the weights beside it"
	@echo
	@echo "Your own photographs:  $(BIN)/python lifelog_predict.py my_photos"

card: .venv/test
	$(BIN)/python -m koniq sense --weights $(MODEL) --record $(MODEL) --out results
	$(BIN)/python -m koniq limits --weights $(MODEL) --record $(MODEL) --out trained_models/$(MODEL)/limits.png
	rm -rf demo
	$(BIN)/python -m koniq demo demo
	$(BIN)/python lifelog_predict.py demo/photos --weights $(MODEL) --out demo/photos_mos.csv
	$(BIN)/python -m koniq demo demo --scores demo/photos_mos.csv --readme
	$(BIN)/python -m koniq report demo/photos_mos.csv --sheet 12
	$(BIN)/python tests/helpers/browser.py demo/photos_mos_report/report.html results/lifelog_report.png
	$(BIN)/python -m koniq card

demo-train: .venv/core
	rm -rf demo-train
	$(BIN)/python koncept512_train.py $(FROM_RANDOM)
	$(BIN)/python lifelog_predict.py datasets/sample/LSC21/lsc21-images.csv --weights demo-train/koncept512 \
		--out demo-train/lifelog_mos.csv \
		|| test $$? -eq 3  # some of its pictures are broken on purpose
	$(BIN)/python -m koniq report demo-train/lifelog_mos.csv
	$(BIN)/python koncept512_test.py --dataset sample --weights demo-train/koncept512 --out demo-train/test
	@echo
	@echo "To open: demo-train/test/scatter.png          predicted against synthetic MOS, on scenes never seen in training"
	@echo "         demo-train/test/predictions.csv      one row a test picture;  metrics.csv, report.md beside it"
	@echo "         demo-train/koncept512/curves.png     the learning curves;     log.csv, settings.json beside it"
	@echo "         demo-train/lifelog_mos_report/report.html  what the small lifelog's scores look like, in a browser"
	@echo "         demo-train/lifelog_mos.csv           a score or a reason for every picture of it"
	@echo "         datasets/sample/images/512x384       the pictures; their labels follow from known distortions"

test: .venv/test .venv/exiftool/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(PYTEST) --durations=10 -m "not long and not cluster" $(SIDE_BY_SIDE) $(TESTS)
	KERAS_BACKEND=torch $(PYTEST) --durations=5 -m any_backend $(SIDE_BY_SIDE) $(TESTS)

# oneDNN (in TensorFlow, PyTorch and OpenVINO) and OpenVINO's own kernels stop at AVX2, PyTorch's at AVX2 and then below;
# TensorFlow works with oneDNN, as it does by itself where a processor has AVX-512, and then without.
OLDER := ONEDNN_MAX_CPU_ISA=AVX2 OV_CPU_MAX_ISA=AVX2
NUMERICAL := $(PYTEST) --durations=10 -m "numerical and not long and not cluster" $(SIDE_BY_SIDE) $(TESTS)

test-portable: .venv/test
	$(OLDER) ATEN_CPU_CAPABILITY=avx2 TF_ENABLE_ONEDNN_OPTS=1 $(NUMERICAL)
	$(OLDER) ATEN_CPU_CAPABILITY=default TF_ENABLE_ONEDNN_OPTS=0 $(NUMERICAL)

test-long: .venv/test
	$(PYTEST) --durations=10 -m "long and not cluster" $(SIDE_BY_SIDE) $(TESTS)

test-cluster: .venv/test
	$(PYTEST) --durations=10 -m cluster tests/scoring/test_in_ray.py

kuti: .venv-kuti/core

test-kuti: .venv/test .venv-kuti/core
	$(PYTEST) --durations=5 tests/training/test_in_kuti.py

wheel: .venv/core
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

.venv/core: requirements.txt $(CORE)
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed, and none was found." >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/test: $(LISTS) .venv/core
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-test.txt
	@touch $@

# The judge of what tests write as XMP. Without npm, tests/helpers/exiftool.py looks for another.
.venv/exiftool/installed: .venv/core
	@mkdir -p $(@D)
	@npm install --silent --no-audit --no-fund --no-save --prefix $(@D) exiftool-vendored.pl@13.59.0 && touch $@ \
		|| echo "npm did not install ExifTool; the tests look for another" >&2

.venv-kuti/core: requirements-kuti.txt requirements.txt $(CORE) requirements/kuti.txt requirements/keras2.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed, and none was found." >&2; exit 2; }
	$(PYTHON) -m venv .venv-kuti
	.venv-kuti/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-kuti.txt
	.venv-kuti/bin/python -m pip install --quiet --disable-pip-version-check --no-deps kuti==0.9.8.1
	@touch $@

clean:
	rm -rf demo demo-train datasets/sample .pytest_cache .ruff_cache
